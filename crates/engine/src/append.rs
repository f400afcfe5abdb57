//! Memory for bytes that come piece by piece, where it is known how many there may be.

/// Appends `bytes`. The room doubles, as ever, but only up to `most` bytes where these are enough.
pub(crate) fn append(to: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let len = to.len() + bytes.len();
    if len > to.capacity() {
        to.reserve_exact((2 * to.len()).min(most).max(len) - to.len());
    }
    to.extend_from_slice(bytes);
}
