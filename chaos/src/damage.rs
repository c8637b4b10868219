//! Damage to files: flipped bytes, lost ends, zeroed pages. What a worn disk or a torn write leaves behind.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Files damaged in one go.
const FILES_MAX: usize = 3;
/// Folders below the damaged one that are looked into.
const DEPTH_MAX: usize = 4;
/// Size of a zeroed page, in bytes.
const PAGE: u64 = 4096;

/// Damages up to three files below a folder; gives what was done, in words. Nothing in, nothing out.
pub fn damage(dir: &Path, random: &mut fastrand::Rng) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    collect(dir, 0, &mut files)?;
    files.retain(|(_, length)| *length > 0);
    random.shuffle(&mut files);
    let mut done = Vec::new();
    for (path, length) in files.into_iter().take(FILES_MAX) {
        let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        let what = match random.u8(0..3) {
            0 => flip(&path, length, random)?,
            1 => truncate(&path, length, random)?,
            _ => zero(&path, length, random)?,
        };
        done.extend(what.map(|what| format!("{name}: {what}")));
    }
    Ok(done)
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<(PathBuf, u64)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_file() {
            files.push((entry.path(), meta.len()));
        } else if meta.is_dir() && depth < DEPTH_MAX {
            collect(&entry.path(), depth + 1, files)?;
        }
    }
    files.sort();
    Ok(())
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn flip(path: &Path, length: u64, random: &mut fastrand::Rng) -> std::io::Result<Option<String>> {
    let at = random.u64(0..length);
    let mut file = open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte[0] ^ (1 << random.u8(0..8))])?;
    Ok(Some(format!("a bit flipped at {at} of {length}")))
}

fn truncate(path: &Path, length: u64, random: &mut fastrand::Rng) -> std::io::Result<Option<String>> {
    let keep = random.u64(0..length);
    open(path)?.set_len(keep)?;
    Ok(Some(format!("cut to {keep} of {length}")))
}

/// None if the page held only zeros before.
fn zero(path: &Path, length: u64, random: &mut fastrand::Rng) -> std::io::Result<Option<String>> {
    let at = random.u64(0..length) / PAGE * PAGE;
    let mut page = vec![0; usize::try_from(PAGE.min(length - at)).unwrap_or(0)];
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut page)?;
    if page.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&vec![0; page.len()])?;
    Ok(Some(format!("zeroed at {at} of {length}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_changes_what_it_says_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/db");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let whole = vec![7u8; 20_000];
        for seed in 0..50 {
            std::fs::write(&path, &whole).unwrap();
            let done = damage(dir.path(), &mut fastrand::Rng::with_seed(seed)).unwrap();
            assert_eq!(done.len(), 1);
            assert_ne!(std::fs::read(&path).unwrap(), whole, "{done:?}");
        }
    }

    #[test]
    fn an_empty_folder_cannot_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        assert!(damage(dir.path(), &mut fastrand::Rng::with_seed(1)).unwrap().is_empty());
    }
}
