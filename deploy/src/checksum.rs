//! Lists of `sha256sum` lines, and directories held against them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::DeployError;

/// File names and their sums, as written by `sha256sum`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChecksumList {
    sums: BTreeMap<String, String>,
}

impl ChecksumList {
    /// Reads lines of 64 hexadecimal digits, blanks and a file name; other lines are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let sums = text
            .lines()
            .filter_map(|line| {
                let (sum, file) = line.split_once(char::is_whitespace)?;
                let well_formed = sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
                well_formed.then(|| (file.trim_start_matches([' ', '*']).to_owned(), sum.to_ascii_lowercase()))
            })
            .collect();
        Self { sums }
    }

    /// The files named.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.sums.keys().map(String::as_str)
    }

    /// Eight hexadecimal digits that change whenever a name or a sum changes.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (file, sum) in &self.sums {
            hash.update(file.as_bytes());
            hash.update(sum.as_bytes());
        }
        let mut text = hex(&hash.finalize());
        text.truncate(8);
        text
    }

    /// Holds a directory against the list: the same files, each with its sum.
    ///
    /// # Errors
    /// The first file missing, unexpected or different; or a file that cannot be read.
    pub(crate) fn verify(&self, artifact: &str, dir: &Path) -> Result<(), DeployError> {
        let content = |detail: String| DeployError::Content { artifact: artifact.to_owned(), detail };
        for entry in fs::read_dir(dir).map_err(DeployError::io("reading", dir))? {
            let name = entry.map_err(DeployError::io("reading", dir))?.file_name();
            let name = name.to_string_lossy();
            if !self.sums.contains_key(name.as_ref()) {
                return Err(content(format!("file {name} has no checksum")));
            }
        }
        for (file, expected) in &self.sums {
            let path = dir.join(file);
            if !path.is_file() {
                return Err(content(format!("file {file} is missing from the download")));
            }
            let actual = sha256_of(&path).map_err(DeployError::io("reading", &path))?;
            if actual != *expected {
                return Err(DeployError::Checksum {
                    artifact: artifact.to_owned(),
                    file: file.clone(),
                    actual,
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The hexadecimal sha256 of a file.
fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn dir_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    #[test]
    fn the_right_files_pass() {
        let list = ChecksumList::parse(&format!("{ABC}  a.jar\n\n{ABC} *b.jar\n"));
        assert_eq!(list.files().collect::<Vec<_>>(), ["a.jar", "b.jar"]);
        list.verify("x", dir_with(&[("a.jar", "abc"), ("b.jar", "abc")]).path()).unwrap();
    }

    #[test]
    fn a_changed_file_is_named_with_both_sums() {
        let list = ChecksumList::parse(&format!("{ABC}  a.jar"));
        let error = list.verify("thing 1", dir_with(&[("a.jar", "abd")]).path()).unwrap_err().to_string();
        assert!(error.contains("a.jar of thing 1") && error.contains(ABC), "{error}");
    }

    #[test]
    fn a_missing_and_an_extra_file_are_refused() {
        let list = ChecksumList::parse(&format!("{ABC}  a.jar\n{ABC}  b.jar"));
        let missing = list.verify("x", dir_with(&[("a.jar", "abc")]).path()).unwrap_err().to_string();
        assert_eq!(missing, "x: file b.jar is missing from the download");
        let files = [("a.jar", "abc"), ("b.jar", "abc"), ("c.jar", "abc")];
        let extra = list.verify("x", dir_with(&files).path()).unwrap_err().to_string();
        assert_eq!(extra, "x: file c.jar has no checksum");
    }

    #[test]
    fn the_fingerprint_follows_names_and_sums() {
        let one = ChecksumList::parse(&format!("{ABC}  a.jar"));
        let other_name = ChecksumList::parse(&format!("{ABC}  b.jar"));
        let other_sum = ChecksumList::parse(&format!("{}  a.jar", ABC.replace('b', "c")));
        assert_eq!(one.fingerprint().len(), 8);
        assert_ne!(one.fingerprint(), other_name.fingerprint());
        assert_ne!(one.fingerprint(), other_sum.fingerprint());
    }
}
