//! Memory as the process has it from the system.
#![allow(unsafe_code)] // a question to the allocator

/// Gives back to the system what the process has freed. glibc keeps it otherwise, for as long as anything that is still in use lies
/// behind it.
///
/// This looks at all free memory, so it is for the end of a burst. Other allocators give back by themselves, and nothing happens.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it reads and writes nothing but the allocator's own books and what is free, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
