//! A file as UTF-8 text, whatever its encoding.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::config::Encoding;

/// How much is read from an encoded file at a time.
const BUFFER: usize = 64 << 10;

/// Reads a file as UTF-8 without its byte order mark. A file in UTF-8 is passed on as it is, not
/// checked: its rows are.
pub(crate) struct Text {
    file: File,
    encoding: Encoding,
    /// Bytes of the byte order mark.
    start: u64,
    decoding: Option<Decoding>,
}

struct Decoding {
    decoder: Decoder,
    encoded: Box<[u8]>,
    input: Part,
    decoded: Box<[u8]>,
    output: Part,
    /// Set once there is nothing more to decode; the decoder may not be called after that.
    end: Option<End>,
}

enum End {
    Whole,
    Malformed,
}

/// Marks bytes that are not of the file's encoding.
#[derive(Debug, thiserror::Error)]
#[error("bytes that are not of the file's encoding")]
pub(crate) struct Malformed;

impl Text {
    /// Opens the file. A byte order mark goes before `encoding`.
    pub(crate) fn open(path: &Path, encoding: Encoding) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut head = Vec::with_capacity(3);
        file.by_ref().take(3).read_to_end(&mut head)?;
        let (encoding, start) = match head[..] {
            [0xEF, 0xBB, 0xBF] => (Encoding::Utf8, 3),
            [0xFF, 0xFE, ..] => (Encoding::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Encoding::Utf16Be, 2),
            _ => (encoding, 0),
        };
        let mut text = Self {
            file,
            encoding,
            start,
            decoding: None,
        };
        text.rewind()?;
        Ok(text)
    }

    /// Goes back to the first character.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.start))?;
        let encoding = match self.encoding {
            Encoding::Utf8 => return Ok(()),
            Encoding::Utf16Le => UTF_16LE,
            Encoding::Utf16Be => UTF_16BE,
            Encoding::Windows1252 => WINDOWS_1252,
        };
        self.decoding = Some(Decoding {
            decoder: encoding.new_decoder_without_bom_handling(),
            encoded: vec![0; BUFFER].into_boxed_slice(),
            input: Part::default(),
            decoded: vec![0; BUFFER].into_boxed_slice(),
            output: Part::default(),
            end: None,
        });
        Ok(())
    }

    /// Returns the encoding, as the byte order mark or else the setting has it.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }
}

impl Read for Text {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoding {
            None => self.file.read(out),
            Some(decoding) => decoding.read(&mut self.file, out),
        }
    }
}

impl Decoding {
    fn read(&mut self, file: &mut File, out: &mut [u8]) -> io::Result<usize> {
        while self.output.is_empty() {
            match self.end {
                Some(End::Whole) => return Ok(0),
                Some(End::Malformed) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, Malformed));
                }
                None => self.decode(file)?,
            }
        }
        let read = self.output.read(&self.decoded, out);
        Ok(read)
    }

    /// Decodes some more, which may come to nothing yet.
    fn decode(&mut self, file: &mut File) -> io::Result<()> {
        let mut last = false;
        if self.input.is_empty() {
            self.input = Part::new(file.read(&mut self.encoded)?);
            last = self.input.is_empty();
        }
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.encoded[self.input.from..self.input.upto],
            &mut self.decoded,
            last,
        );
        self.input.from += read;
        self.output = Part::new(written);
        match result {
            // What stands before it is handed on first, so that its lines can be counted.
            DecoderResult::Malformed(..) => self.end = Some(End::Malformed),
            DecoderResult::InputEmpty if last => self.end = Some(End::Whole),
            _ => {}
        }
        Ok(())
    }
}

/// What of a buffer has not been used yet.
#[derive(Default)]
struct Part {
    from: usize,
    upto: usize,
}

impl Part {
    fn new(len: usize) -> Self {
        Self { from: 0, upto: len }
    }

    fn is_empty(&self) -> bool {
        self.from == self.upto
    }

    fn read(&mut self, buffer: &[u8], out: &mut [u8]) -> usize {
        let len = out.len().min(self.upto - self.from);
        out[..len].copy_from_slice(&buffer[self.from..self.from + len]);
        self.from += len;
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Encoding) -> (String, Option<io::Error>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut text = Text::open(&path, encoding).unwrap();
        let (mut whole, mut piece) = (Vec::new(), [0; 2]);
        let error = loop {
            match text.read(&mut piece) {
                Ok(0) => break None,
                Ok(read) => whole.extend_from_slice(&piece[..read]),
                Err(error) => break Some(error),
            }
        };
        (String::from_utf8(whole).unwrap(), error)
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    const SAMPLE: &str = "näme\tGröße 漢字 🦀\r\n";

    #[test]
    fn decodes_each_encoding_with_and_without_a_mark() {
        let marked = format!("\u{feff}{SAMPLE}");
        for (bytes, encoding) in [
            (SAMPLE.as_bytes().to_vec(), Encoding::Utf8),
            (marked.as_bytes().to_vec(), Encoding::Utf8),
            (marked.as_bytes().to_vec(), Encoding::Windows1252),
            (utf16(&marked, u16::to_le_bytes), Encoding::Utf8),
            (utf16(&marked, u16::to_be_bytes), Encoding::Utf8),
            (utf16(&marked, u16::to_be_bytes), Encoding::Utf16Le),
            (utf16(SAMPLE, u16::to_le_bytes), Encoding::Utf16Le),
            (utf16(SAMPLE, u16::to_be_bytes), Encoding::Utf16Be),
        ] {
            let (text, error) = read(&bytes, encoding);
            assert!(error.is_none());
            assert_eq!(text, SAMPLE, "{encoding}");
        }
        let (text, _) = read(b"caf\xe9 \x80", Encoding::Windows1252);
        assert_eq!(text, "café €");
    }

    #[test]
    fn is_longer_than_one_piece_of_input() {
        let long = SAMPLE.repeat(2 * BUFFER / SAMPLE.len());
        assert_eq!(
            read(&utf16(&long, u16::to_le_bytes), Encoding::Utf16Le).0,
            long
        );
    }

    #[test]
    fn hands_on_what_stands_before_malformed_bytes() {
        for cut in [&b"a\0\n\0\0"[..], &b"a\0\n\0\x00\xd8b\0"[..]] {
            let (text, error) = read(cut, Encoding::Utf16Le);
            assert_eq!(text, "a\n");
            assert!(error.unwrap().get_ref().unwrap().is::<Malformed>());
        }
    }
}
