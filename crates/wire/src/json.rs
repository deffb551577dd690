//! Small pieces of JSON writing, shared by the encoders. Not a serializer: serde_json is that.

use serde::Serialize;

/// Writes any serializable value. Only for types whose `Serialize` cannot fail.
pub(crate) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("our own types serialize, and a vector takes every byte");
}

/// Writes `,"name":"value"`; `name` is a plain literal that needs no escaping.
pub(crate) fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    write_name(out, name);
    write(out, value);
}

/// Writes `,"name":`; `name` is a plain literal that needs no escaping.
pub(crate) fn write_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes `,"headers":{…}`, or nothing when there are none. Names must be unique.
pub(crate) fn write_headers<'a>(out: &mut Vec<u8>, headers: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut open = false;
    for (name, value) in headers {
        out.extend_from_slice(if open { b"," } else { b",\"headers\":{" });
        open = true;
        write(out, name);
        out.push(b':');
        write(out, value);
    }
    if open {
        out.push(b'}');
    }
}

/// Writes a number in decimal.
pub(crate) fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
