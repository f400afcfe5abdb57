//! The keys of TLS sessions in a file, for programs that decrypt what they have recorded (SSLKEYLOGFILE, as NSS, OpenSSL and Wireshark have it).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::{Mutex, lock};

static IS_ON: AtomicBool = AtomicBool::new(false);
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Appends the keys of every TLS session of this process to a file, from its next handshake on; `None`: of none any more.
///
/// Whoever can read the file can read all that these connections say. A new file can be read by its owner alone. Whether it is asked for is
/// a matter of the program: nothing here looks at the variable SSLKEYLOGFILE by itself.
///
/// # Errors
///
/// Why the file cannot be opened. Then no keys are written.
pub fn log_keys(path: Option<&Path>) -> io::Result<()> {
    let mut kept = lock(&FILE);
    *kept = None;
    IS_ON.store(false, Ordering::Relaxed);
    if let Some(path) = path {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        *kept = Some(options.open(path)?);
        IS_ON.store(true, Ordering::Relaxed);
    }
    Ok(())
}

pub(super) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Writes one line, if keys are logged: a label, the client's random and the secret, as rustls has them.
pub(super) fn write(label: &str, client_random: &[u8], secret: &[u8]) {
    if !is_on() {
        return;
    }
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
    if let Some(file) = &mut *lock(&FILE) {
        // One call for each line: other processes may append to the file, too. A full disk is no reason to refuse a connection.
        let _ = file.write_all(line.as_bytes());
    }
}
