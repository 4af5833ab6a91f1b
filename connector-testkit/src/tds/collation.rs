//! Collations of `char` and `varchar` columns, and the code pages that they mean.

use encoding_rs::{Encoding, GBK, SHIFT_JIS, UTF_8, WINDOWS_1251, WINDOWS_1252, WINDOWS_1254};

/// A collation as it stands on the wire: locale, flags and sort order; and its code page.
///
/// [MS-TDS] 2.2.5.1.2 Collation Rule Definition.
#[derive(Debug, Clone, Copy)]
pub struct Collation {
    /// Locale in 20 bits, then the flags, then the version.
    info: u32,
    sort_id: u8,
    /// `None` where there is no encoder for it here: text is ASCII, or written as bytes.
    encoding: Option<&'static Encoding>,
}

impl Collation {
    /// `SQL_Latin1_General_CP1_CI_AS`: code page 1252, what most servers have.
    pub const SQL_LATIN1_CP1: Self = Self::new(0x00D0_0409, 52, Some(WINDOWS_1252));
    /// `Latin1_General_CI_AS`: code page 1252, a Windows collation.
    pub const LATIN1: Self = Self::new(0x00D0_0409, 0, Some(WINDOWS_1252));
    /// `Latin1_General_100_CI_AS_SC_UTF8`: UTF-8, by the flag fUTF8; the locale is that of 1252.
    pub const LATIN1_UTF8: Self = Self::new(0x24D0_0409, 0, Some(UTF_8));
    /// `Cyrillic_General_CI_AS`: code page 1251.
    pub const CYRILLIC: Self = Self::new(0x00D0_0419, 0, Some(WINDOWS_1251));
    /// `Turkish_CI_AS`: code page 1254.
    pub const TURKISH: Self = Self::new(0x00D0_041F, 0, Some(WINDOWS_1254));
    /// `Japanese_CI_AS`: code page 932, two bytes for many characters.
    pub const JAPANESE: Self = Self::new(0x00D0_0411, 0, Some(SHIFT_JIS));
    /// `Chinese_PRC_CI_AS`: code page 936.
    pub const CHINESE: Self = Self::new(0x00D0_0804, 0, Some(GBK));
    /// `SQL_Latin1_General_CP850_CI_AS`: code page 850, which few decoders know.
    pub const SQL_LATIN1_CP850: Self = Self::new(0x00D0_0409, 42, None);
    /// `SQL_Latin1_General_CP437_CI_AS`: code page 437, which few decoders know.
    pub const SQL_LATIN1_CP437: Self = Self::new(0x00D0_0409, 32, None);

    const fn new(info: u32, sort_id: u8, encoding: Option<&'static Encoding>) -> Self {
        Self {
            info,
            sort_id,
            encoding,
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend(self.info.to_le_bytes());
        out.push(self.sort_id);
    }

    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        let Some(encoding) = self.encoding else {
            assert!(
                text.is_ascii(),
                "no encoder for {self:?}: give the cell as bytes"
            );
            return text.as_bytes().to_vec();
        };
        let (bytes, _, unmappable) = encoding.encode(text);
        assert!(!unmappable, "{text:?} is not in {}", encoding.name());
        bytes.into_owned()
    }
}
