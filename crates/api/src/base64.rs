//! Base64 of the `data` of Secrets, as Go's standard decoder takes it: the common alphabet, padding required, line
//! breaks ignored.

/// The first byte of the text that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadByte(pub(crate) usize);

/// Decodes `text`.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, BadByte> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut group = [0_u8; 4];
    let mut filled = 0;
    let mut padding = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r')) {
        let value = match byte {
            b'=' if filled >= 2 => {
                padding += 1;
                0
            }
            // After padding nothing may follow.
            _ if padding > 0 || filled == 0 && bytes.len() % 3 != 0 => return Err(BadByte(at)),
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(BadByte(at)),
        };
        group[filled] = value;
        filled += 1;
        if filled == 4 {
            let [a, b, c, d] = group;
            let whole = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
            bytes.extend_from_slice(&whole[..3 - padding]);
            filled = 0;
        }
    }
    if filled == 0 { Ok(bytes) } else { Err(BadByte(text.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_and_the_first_bad_byte_is_named() {
        assert_eq!(decode(""), Ok(Vec::new()));
        assert_eq!(decode("aGVsbG8="), Ok(b"hello".to_vec()));
        assert_eq!(decode("aGVs\nbG8h\n"), Ok(b"hello!".to_vec()));
        assert_eq!(decode("Zg=="), Ok(b"f".to_vec()));
        assert_eq!(decode("hello"), Err(BadByte(5)));
        assert_eq!(decode("a-b="), Err(BadByte(1)));
        assert_eq!(decode("Zg==Zg=="), Err(BadByte(4)));
        assert_eq!(decode("Zg=a"), Err(BadByte(3)));
        assert_eq!(decode("===="), Err(BadByte(0)));
    }
}
