//! The command that writes an example of a configuration file.

use std::{fs::OpenOptions, io::Write, path::Path};

use connector_core::{Error, ErrorKind, Result};
use tracing::info;

use crate::{cli::Verdict, config::EXAMPLE};

pub(crate) fn init(path: &Path) -> Result<Verdict> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(EXAMPLE.as_bytes()));
    match written {
        Ok(()) => {
            info!("Wrote {}; next: `datasync check`", path.display());
            Ok(Verdict::Good)
        }
        Err(error) => {
            let message = if error.kind() == std::io::ErrorKind::AlreadyExists {
                "the file exists already and is left as it is; give another name"
            } else {
                "can't write the file"
            };
            Err(Error::new(ErrorKind::Config, message)
                .with("file", path.display())
                .with_source(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("datasync.toml");
        assert_eq!(init(&path).unwrap(), Verdict::Good);
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(init(&path).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
