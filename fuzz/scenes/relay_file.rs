//! The file of `trochee relay`: what is no such file is refused with a reason, and what is one says the same when it is read again.

use super::File;

/// Reads the input as a file.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match toml::from_str::<File>(text) {
        Err(error) => assert!(!error.to_string().trim().is_empty()),
        Ok(file) => {
            for relay in &file.relay {
                for listen in &relay.listen {
                    let written = listen.to_string();
                    assert_eq!(written.parse().as_ref(), Ok(listen), "{written}");
                }
                for target in &relay.to {
                    let written = target.to_string();
                    assert_eq!(written.parse().as_ref(), Ok(target), "{written}");
                }
            }
        }
    }
}
