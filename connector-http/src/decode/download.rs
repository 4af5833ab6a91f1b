//! A downloaded file into rows, in little memory.

use connector_core::{Error, ErrorKind, Result, SnapshotWriter};
use futures::{Stream, StreamExt};

use super::{
    csv::{CsvDecoder, CsvFacts},
    zip::Unzip,
};

/// How much is unpacked at a time.
const UNPACKED_BYTES: usize = 64 << 10;

/// Rows are handed on in batches of this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// A file may be this large by default: 100,000 devices with some hundred programs each are several
/// GiB.
const MAX_BYTES: u64 = 64 << 30;

/// How a CSV file is downloaded.
#[derive(Debug, Clone, Copy)]
pub struct Download {
    is_zip: bool,
    max_bytes: u64,
}

impl Download {
    /// Takes the bytes for the file itself.
    pub fn plain() -> Self {
        Self {
            is_zip: false,
            max_bytes: MAX_BYTES,
        }
    }

    /// Takes the bytes for a zip archive of one file.
    pub fn zip() -> Self {
        Self {
            is_zip: true,
            max_bytes: MAX_BYTES,
        }
    }

    /// Sets how large the file may be, unpacked. Default: 64 GiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Writes the rows of a file that arrives in chunks of any size. Memory does not grow with the
    /// file.
    ///
    /// After an error, rows may have been written: the read has failed. That an archive is whole
    /// is only known at its end.
    ///
    /// # Errors
    ///
    /// Those of the chunks, of [`CsvDecoder`] and of [`Unzip`], which name the data set;
    /// [`ErrorKind::Data`] when the file is larger than allowed; [`ErrorKind::Cancelled`] when the
    /// read was stopped.
    pub async fn read<B>(
        self,
        chunks: impl Stream<Item = Result<B>> + Send,
        mut decoder: CsvDecoder,
        out: &mut SnapshotWriter,
    ) -> Result<CsvFacts>
    where
        B: AsRef<[u8]> + Send,
    {
        let name = decoder.reply().name;
        let mut chunks = std::pin::pin!(chunks);
        let mut rows = connector_core::Batch::new(std::sync::Arc::clone(decoder.schema()));
        let mut zip = self.is_zip.then(|| Unzip::new(self.max_bytes));
        let mut unpacked = vec![0; if self.is_zip { UNPACKED_BYTES } else { 0 }];
        let mut bytes = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut rest = chunk.as_ref();
            loop {
                let part = if let Some(zip) = &mut zip {
                    let len = zip
                        .read(&mut rest, &mut unpacked)
                        .map_err(|error| error.with("data set", name))?;
                    &unpacked[..len]
                } else {
                    let (part, behind) = rest.split_at(rest.len().min(UNPACKED_BYTES));
                    rest = behind;
                    part
                };
                if part.is_empty() {
                    break;
                }
                bytes += part.len() as u64;
                if bytes > self.max_bytes {
                    let error = Error::new(ErrorKind::Data, "the file is larger than is allowed");
                    return Err(error.with("data set", name).with("bytes", self.max_bytes));
                }
                decoder.push(part, &mut rows)?;
                if rows.byte_len() >= BATCH_BYTES {
                    let next = rows.next(None);
                    out.batch(std::mem::replace(&mut rows, next)).await?;
                }
            }
        }
        if let Some(zip) = zip {
            zip.finish().map_err(|error| error.with("data set", name))?;
        }
        let facts = decoder.finish(&mut rows)?;
        out.batch(rows).await?;
        Ok(facts)
    }
}
