//! Writes the archives of the corpus into a directory, for the fuzzer to begin with.
//!
//! `hostile-seeds DIRECTORY [tar|pax]`: each file is one archive behind the byte that tells the fuzz
//! target whether to repair checksums, or the records of one PAX header.

use std::path::Path;

use orc_hostile::cases;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".into());
    let only_records = arguments.next().as_deref() == Some("pax");
    std::fs::create_dir_all(&directory)?;
    let archives = cases::corpus(Path::new("/outside"))
        .into_iter()
        .flat_map(|case| case.layers)
        .filter(|bytes| bytes.len() <= 16 << 10);
    for (index, bytes) in archives.enumerate() {
        let path = Path::new(&directory).join(format!("{index:05}"));
        match only_records {
            true => match records(&bytes) {
                Some(records) => std::fs::write(path, records)?,
                None => continue,
            },
            false => std::fs::write(path, [b"1", &bytes[..]].concat())?,
        }
    }
    Ok(())
}

/// The data of the first extension header.
fn records(archive: &[u8]) -> Option<&[u8]> {
    let header = archive
        .chunks_exact(512)
        .position(|block| block[156] == b'x')?;
    let size = std::str::from_utf8(&archive[header * 512 + 124..header * 512 + 135]).ok()?;
    let size = usize::from_str_radix(size, 8).ok()?;
    archive.get((header + 1) * 512..)?.get(..size)
}
