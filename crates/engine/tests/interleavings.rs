//! The ways in which threads can meet in a queue and at a waker, tried by loom.
//!
//! The files are those of the engine, with loom's atomics and locks instead of the standard library's.

#![allow(dead_code)] // what the engine needs of them and these tests do not

#[path = "../src/append.rs"]
mod append;

#[path = "../src/batch.rs"]
mod batch;
#[path = "../src/waker/wait.rs"]
mod wait;

mod sync {
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

use batch::{Batch, BatchQueue, Reading};
use loom::thread;
use sync::{Arc, Condvar, Mutex};
use wait::Wait;

/// All of them would take minutes; what goes wrong goes wrong with few switches between threads at odd moments.
fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

/// A queue, who waits for it, and the eventfd that ends the wait.
struct Post {
    queue: BatchQueue<u32>,
    wait: Wait,
    eventfd: (Mutex<bool>, Condvar),
}

impl Post {
    fn new() -> Arc<Post> {
        Arc::new(Post {
            queue: BatchQueue::new(),
            wait: Wait::new(),
            eventfd: (Mutex::new(false), Condvar::new()),
        })
    }

    fn send(&self, batch: &mut Batch<u32>) {
        self.queue.post(batch);
        if self.wait.wake() {
            *self.eventfd.0.lock().unwrap() = true;
            self.eventfd.1.notify_one();
        }
    }

    /// As in a turn: a look at the queue, a wait that only the eventfd ends, another look.
    fn receive(&self, count: usize) -> Vec<u32> {
        let mut reading = Reading::<u32>::new();
        let mut received = Vec::new();
        while received.len() < count {
            while let Some(letter) = reading.next() {
                assert_eq!(reading.bytes(4), letter.to_ne_bytes());
                received.push(letter);
            }
            if reading.take(&self.queue) || received.len() == count {
                continue;
            }
            if self.wait.begin_wait() {
                // A wake that is lost leaves this without an end, which loom reports as a deadlock.
                let mut readable = self.eventfd.0.lock().unwrap();
                while !*readable {
                    readable = self.eventfd.1.wait(readable).unwrap();
                }
                *readable = false;
            }
            self.wait.end_wait();
        }
        received
    }
}

fn batch(letters: &[u32]) -> Batch<u32> {
    let mut batch = Batch::new();
    for letter in letters {
        batch.push_with(*letter, &letter.to_ne_bytes());
    }
    batch
}

#[test]
fn no_letter_and_no_wake_is_lost() {
    model(|| {
        let post = Post::new();
        let sender = thread::spawn({
            let post = post.clone();
            move || {
                post.send(&mut batch(&[1, 2]));
                post.send(&mut batch(&[3]));
            }
        });
        assert_eq!(post.receive(3), [1, 2, 3]);
        sender.join().unwrap();
    });
}

#[test]
fn two_senders_wake_one_receiver() {
    model(|| {
        let post = Post::new();
        let senders = [1, 2].map(|letter| {
            let post = post.clone();
            thread::spawn(move || post.send(&mut batch(&[letter])))
        });
        let mut received = post.receive(2);
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// The two directions of a pool: a question and its answer.
#[test]
fn two_that_wait_for_each_other_do_not_wait_for_ever() {
    model(|| {
        let (commands, reports) = (Post::new(), Post::new());
        let worker = thread::spawn({
            let (commands, reports) = (commands.clone(), reports.clone());
            move || {
                let asked = commands.receive(1);
                reports.send(&mut batch(&asked));
            }
        });
        commands.send(&mut batch(&[7]));
        assert_eq!(reports.receive(1), [7]);
        worker.join().unwrap();
    });
}
