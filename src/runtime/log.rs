//! What a container wrote, kept on disk: records of whole chunks, in files that are rotated by size.
//!
//! There is one writer, the monitor, and any number of readers, who follow by watching the directory.

mod format;
mod reader;
mod writer;

pub use crate::log::format::{MAX_FILES, Record, Stream};
pub use crate::log::reader::LogReader;
pub use crate::log::writer::LogWriter;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use orc_base::Time;

    use super::*;
    use crate::spec::LogSpec;

    fn spec(dir: &tempfile::TempDir, max_bytes: u64) -> LogSpec {
        LogSpec {
            path: dir.path().join("log"),
            max_bytes,
            max_files: 3,
        }
    }

    fn write(writer: &mut LogWriter, text: &str) {
        let at = Time::from_nanos(text.len() as i64);
        writer.write(Stream::Stdout, at, text.as_bytes()).unwrap();
    }

    fn read(reader: &mut LogReader) -> String {
        reader
            .map(|record| String::from_utf8(record.unwrap().bytes).unwrap())
            .collect()
    }

    #[test]
    fn keeps_chunks_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 1 << 20);
        let mut writer = LogWriter::open(&spec).unwrap();
        let mut reader = LogReader::from_start(&spec.path);
        assert!(reader.next().is_none());
        for (stream, bytes) in [
            (Stream::Stdout, &b"\0\xff no newline"[..]),
            (Stream::Stderr, b""),
            (Stream::Stderr, b"two\nlines\n"),
        ] {
            let at = Time::from_nanos(-5);
            writer.write(stream, at, bytes).unwrap();
            let record = reader.next().unwrap().unwrap();
            assert_eq!(
                record,
                Record {
                    stream,
                    at,
                    bytes: bytes.to_vec()
                }
            );
            assert!(reader.next().is_none());
        }
    }

    #[test]
    fn rotates_and_readers_follow() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 200);
        let mut writer = LogWriter::open(&spec).unwrap();
        let mut follower = LogReader::from_start(&spec.path);
        let mut all = String::new();
        let mut followed = String::new();
        for index in 0..100 {
            let line = format!("line {index}\n");
            write(&mut writer, &line);
            all += &line;
            if index % 7 == 0 {
                followed += &read(&mut follower);
            }
        }
        followed += &read(&mut follower);
        assert_eq!(followed, all);

        let kept = read(&mut LogReader::from_start(&spec.path));
        assert!(all.ends_with(&kept) && kept.len() > 100, "{kept}");
        let files = orc_base::fs::list(dir.path()).unwrap();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            assert!(file.metadata().unwrap().len() <= 200 + 30);
        }
        assert_eq!(read(&mut LogReader::from_end(&spec.path).unwrap()), "");
    }

    #[test]
    fn a_reader_left_behind_goes_on_with_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 60);
        let mut writer = LogWriter::open(&spec).unwrap();
        write(&mut writer, "first\n");
        let mut reader = LogReader::from_start(&spec.path);
        assert_eq!(read(&mut reader), "first\n");
        for index in 0..50 {
            write(&mut writer, &format!("{index}\n"));
        }
        let rest = read(&mut reader);
        let kept = read(&mut LogReader::from_start(&spec.path));
        // What was still written to the file it had open, and then what is kept.
        assert_eq!(rest, format!("0\n{kept}"));
        assert!(kept.ends_with("48\n49\n"), "{kept}");
    }

    #[test]
    fn tails_by_lines_over_records_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 100);
        let mut writer = LogWriter::open(&spec).unwrap();
        for chunk in ["a\nb\n", "c", "c\nd\n", "e\n", "f\ng", "g\n"] {
            write(&mut writer, chunk);
        }
        let tail = |lines| read(&mut LogReader::tail(&spec.path, lines).unwrap());
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "gg\n");
        assert_eq!(tail(2), "f\ngg\n");
        assert_eq!(tail(4), "d\ne\nf\ngg\n");
        assert_eq!(tail(5), "cc\nd\ne\nf\ngg\n");
        assert_eq!(tail(6), "b\ncc\nd\ne\nf\ngg\n");
        assert_eq!(tail(99), "a\nb\ncc\nd\ne\nf\ngg\n");
        write(&mut writer, "unfinished");
        assert_eq!(tail(1), "unfinished");
        assert_eq!(tail(2), "gg\nunfinished");
    }

    #[test]
    fn a_torn_tail_is_ignored_and_then_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 1 << 20);
        write(&mut LogWriter::open(&spec).unwrap(), "whole\n");
        let whole = std::fs::read(&spec.path).unwrap();
        for cut in 1..whole.len() {
            let mut torn = whole.clone();
            torn.extend(&whole[..cut]);
            std::fs::write(&spec.path, &torn).unwrap();
            let mut reader = LogReader::from_start(&spec.path);
            assert_eq!(read(&mut reader), "whole\n", "cut at {cut}");
            let mut tail = LogReader::tail(&spec.path, 9).unwrap();
            assert_eq!(read(&mut tail), "whole\n", "cut at {cut}");
            write(&mut LogWriter::open(&spec).unwrap(), "next\n");
            assert_eq!(read(&mut reader), "next\n", "cut at {cut}");
        }
    }

    #[test]
    fn damage_is_named_and_does_not_run_wild() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 1 << 20);
        let mut writer = LogWriter::open(&spec).unwrap();
        write(&mut writer, "good\n");
        drop(writer);
        let mut bytes = std::fs::read(&spec.path).unwrap();
        bytes.extend([0xff; 4096]);
        std::fs::write(&spec.path, bytes).unwrap();
        let mut reader = LogReader::from_start(&spec.path);
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"good\n");
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }

    #[test]
    fn nothing_but_a_regular_file_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, b"secret").unwrap();
        let link = dir.path().join("link");
        symlink(&secret, &link).unwrap();
        assert!(LogReader::from_start(&link).next().unwrap().is_err());
        assert!(LogReader::tail(&link, 3).is_err());
        assert!(LogWriter::open(&LogSpec::at(&link)).is_err());
        assert!(LogReader::from_start(dir.path()).next().unwrap().is_err());
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    }
}
