//! Text of the wire: UTF-16, and the code pages of collations.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1250, WINDOWS_1251,
    WINDOWS_1252, WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257,
    WINDOWS_1258,
};

/// Bits of two units of ASCII that are never set, four units at a time.
const NOT_ASCII: u64 = 0xff80_ff80_ff80_ff80;

/// Half of a surrogate pair, or half of a unit: no text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText;

/// Turns UTF-16 into UTF-8 at the end of `out`; what is no text becomes U+FFFD where `lossy`.
pub(super) fn utf16(mut bytes: &[u8], lossy: bool, out: &mut Vec<u8>) -> Result<(), NotText> {
    if !bytes.len().is_multiple_of(2) {
        return Err(NotText);
    }
    out.reserve(bytes.len() / 2);
    loop {
        bytes = ascii(bytes, out);
        let units = bytes.chunks_exact(2).map(|unit| {
            let unit: [u8; 2] = [unit[0], unit[1]];
            u16::from_le_bytes(unit)
        });
        let Some(next) = char::decode_utf16(units).next() else {
            return Ok(());
        };
        let (c, taken) = match next {
            Ok(c) => (c, c.len_utf16() * 2),
            Err(_) if lossy => (char::REPLACEMENT_CHARACTER, 2),
            Err(_) => return Err(NotText),
        };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        bytes = &bytes[taken..];
    }
}

/// Takes what is ASCII off the start, which is nearly all of an inventory, eight units at a time.
fn ascii<'a>(mut bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    while let Some((first, rest)) = bytes.split_first_chunk::<16>() {
        let units = u128::from_le_bytes(*first);
        let [low, high] = [units & u128::from(u64::MAX), units >> 64].map(|half| {
            // Each half has 64 bits.
            u64::try_from(half).unwrap_or(u64::MAX)
        });
        if (low | high) & NOT_ASCII != 0 {
            break;
        }
        out.extend_from_slice(&(packed(low) | packed(high) << 32).to_le_bytes());
        bytes = rest;
    }
    while let Some(([unit, 0], rest)) = bytes.split_first_chunk() {
        if !unit.is_ascii() {
            break;
        }
        out.push(*unit);
        bytes = rest;
    }
    bytes
}

/// The low bytes of four units, side by side.
fn packed(units: u64) -> u64 {
    let pairs = (units | units >> 8) & 0x0000_ffff_0000_ffff;
    (pairs | pairs >> 16) & 0xffff_ffff
}

/// Text of which nothing depends: names, messages.
pub(super) fn lossy(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    let whole = bytes.len() & !1;
    // What is replaced can't fail.
    let _ = utf16(&bytes[..whole], true, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The encoding that a collation means: locale and flags, and the sort order of the old ones.
///
/// [MS-TDS] 2.2.5.1.2; the code pages are those of [MS-LCID] and of `fn_helpcollations`.
///
/// [MS-TDS]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-tds/3d29e8dc-218a-42c6-9ba4-947ebca9fd7e
/// [MS-LCID]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-lcid/a9eac961-e77d-41a6-90a5-ce1a8b0cdb9c
pub(super) fn encoding(info: u32, sort_id: u8) -> Option<&'static Encoding> {
    const UTF8_FLAG: u32 = 0x0400_0000;
    if info & UTF8_FLAG != 0 {
        return Some(UTF_8);
    }
    if sort_id != 0 {
        return of_sort_order(sort_id);
    }
    of_locale(info & 0x000f_ffff)
}

fn of_sort_order(sort_id: u8) -> Option<&'static Encoding> {
    Some(match sort_id {
        50..=54 | 71 | 72 | 183..=186 => WINDOWS_1252,
        80..=98 => WINDOWS_1250,
        104..=108 => WINDOWS_1251,
        112..=124 => WINDOWS_1253,
        128..=130 => WINDOWS_1254,
        136..=138 => WINDOWS_1255,
        144..=146 => WINDOWS_1256,
        152..=160 => WINDOWS_1257,
        // 30 to 35 and 40 to 61: code pages 437 and 850 of MS-DOS, which no decoder here knows.
        _ => return None,
    })
}

/// By language, and by place where a language has several scripts. Without an answer: languages
/// that have no code page, and those that are not known here.
fn of_locale(locale: u32) -> Option<&'static Encoding> {
    match locale & 0xffff {
        // Chinese of China and Singapore; Serbian, Bosnian, Azeri, Uzbek in Cyrillic.
        0x0804 | 0x1004 => return Some(GBK),
        0x0c1a | 0x1c1a | 0x201a | 0x082c | 0x0843 => return Some(WINDOWS_1251),
        _ => {}
    }
    Some(match locale & 0x3ff {
        0x01 | 0x20 | 0x29 | 0x80 | 0x8c => WINDOWS_1256,
        0x02 | 0x19 | 0x22 | 0x23 | 0x28 | 0x2f | 0x3f | 0x40 | 0x44 | 0x50 | 0x6d | 0x85 => {
            WINDOWS_1251
        }
        0x04 => BIG5,
        0x05 | 0x0e | 0x15 | 0x18 | 0x1a | 0x1b | 0x1c | 0x24 | 0x42 => WINDOWS_1250,
        0x08 => WINDOWS_1253,
        0x0d => WINDOWS_1255,
        0x11 => SHIFT_JIS,
        0x12 => EUC_KR,
        0x1e => WINDOWS_874,
        0x1f | 0x2c | 0x43 => WINDOWS_1254,
        0x25..=0x27 => WINDOWS_1257,
        0x2a => WINDOWS_1258,
        0x03 | 0x06 | 0x07 | 0x09 | 0x0a | 0x0b | 0x0c | 0x0f | 0x10 | 0x13 | 0x14 | 0x16
        | 0x17 | 0x1d | 0x21 | 0x2d | 0x2e | 0x36 | 0x38 | 0x3b | 0x3e | 0x41 | 0x52 | 0x56
        | 0x62 | 0x64 | 0x6e | 0x6f | 0x7a | 0x7c | 0x7e => WINDOWS_1252,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(units: &[u16]) -> Vec<u8> {
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    fn read(units: &[u16], lossy: bool) -> Option<String> {
        let mut out = Vec::new();
        utf16(&wire(units), lossy, &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    proptest! {
        #[test]
        fn text_is_what_the_standard_library_makes_of_it(
            text in "([ -~]{0,20}|\\PC{0,3}){0,6}",
            broken in prop::collection::vec(prop_oneof![0xd7f0u16..0xe010, 0x20u16..0x90], 0..40),
        ) {
            let units: Vec<u16> = text.encode_utf16().collect();
            prop_assert_eq!(read(&units, false), Some(text));
            prop_assert_eq!(read(&broken, false), String::from_utf16(&broken).ok());
            prop_assert_eq!(read(&broken, true), Some(String::from_utf16_lossy(&broken)));
        }
    }

    #[test]
    fn half_a_unit_is_no_text() {
        assert_eq!(utf16(&[65, 0, 66], true, &mut Vec::new()), Err(NotText));
        assert_eq!(lossy(&[65, 0, 66]), "A");
    }

    #[test]
    fn collations_name_their_code_page() {
        for (info, sort_id, expected) in [
            (0x00d0_0409, 52, Some(WINDOWS_1252)),
            (0x00d0_0409, 0, Some(WINDOWS_1252)),
            (0x24d0_0409, 0, Some(UTF_8)),
            (0x00d0_0419, 0, Some(WINDOWS_1251)),
            (0x00d0_041f, 0, Some(WINDOWS_1254)),
            (0x00d0_0411, 0, Some(SHIFT_JIS)),
            (0x00d0_0804, 0, Some(GBK)),
            (0x00d0_0404, 0, Some(BIG5)),
            (0x00d0_0408, 0, Some(WINDOWS_1253)),
            (0x00d0_0c1a, 0, Some(WINDOWS_1251)),
            (0x00d0_081a, 0, Some(WINDOWS_1250)),
            (0x00d0_0409, 42, None),
            (0x00d0_0409, 32, None),
            (0x0000_0439, 0, None),
        ] {
            assert_eq!(encoding(info, sort_id), expected, "{info:x} {sort_id}");
        }
    }
}
