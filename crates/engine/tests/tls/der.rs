//! What certificates are written in (X.690): a tag, a length, and the contents.

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const NULL: u8 = 0x05;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// A value with its tag.
pub fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(length @ ..0x80) => all.push(length),
        Ok(length) => all.extend([0x81, length]),
        _ => {
            all.push(0x82);
            all.extend(u16::try_from(contents.len()).unwrap().to_be_bytes());
        }
    }
    all.extend(contents);
    all
}
