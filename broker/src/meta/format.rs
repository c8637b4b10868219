//! `meta.properties`: to which cluster and node a data directory belongs, and the lock that keeps it to one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use causeway_wire::Uuid;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::properties::Properties;

const FILE: &str = "meta.properties";

/// Data directories that are this node's.
#[derive(Debug)]
pub struct Dirs {
    /// The cluster's id.
    pub cluster_id: String,
    /// Held while the node runs.
    _locks: Vec<File>,
}

/// Locks, checks and where empty formats every data directory.
pub fn prepare(config: &BrokerConfig) -> Result<Dirs, BrokerError> {
    let mut locks = Vec::new();
    let mut found: Vec<(PathBuf, Option<Properties>)> = Vec::new();
    for dir in &config.log_dirs {
        fs::create_dir_all(dir).map_err(dir_error(dir))?;
        locks.push(lock(dir)?);
        found.push((dir.clone(), read(dir)?));
    }
    let mut cluster_id = config.cluster_id.clone();
    for (dir, properties) in &found {
        let Some(properties) = properties else { continue };
        let disagree = |key, found: &str, wanted: &str| BrokerError::Foreign {
            path: dir.clone(),
            key,
            found: found.to_owned(),
            wanted: wanted.to_owned(),
        };
        let node = properties.get("node.id").or(properties.get("broker.id")).unwrap_or("");
        if node != config.node_id.to_string() {
            return Err(disagree("node.id", node, &config.node_id.to_string()));
        }
        let Some(id) = properties.get("cluster.id") else {
            return Err(BrokerError::MetaProperties { path: dir.join(FILE), why: "cluster.id is missing".into() });
        };
        match &cluster_id {
            Some(wanted) if wanted != id => return Err(disagree("cluster.id", id, wanted)),
            _ => cluster_id = Some(id.to_owned()),
        }
    }
    let cluster_id = cluster_id.unwrap_or_else(|| random_uuid().to_string());
    for (dir, properties) in &found {
        if properties.is_none() {
            write(dir, &cluster_id, config.node_id).map_err(dir_error(dir))?;
            tracing::info!(dir = %dir.display(), cluster_id, node_id = config.node_id, "log directory formatted");
        }
    }
    Ok(Dirs { cluster_id, _locks: locks })
}

/// A random id as Kafka makes them: never the reserved ones, and not beginning with a dash when shown as text.
pub fn random_uuid() -> Uuid {
    loop {
        let mut bytes = fastrand::u128(..).to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

fn lock(dir: &Path) -> Result<File, BrokerError> {
    let path = dir.join(".lock");
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).map_err(dir_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BrokerError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(BrokerError::Dir { path, source }),
    }
}

fn read(dir: &Path) -> Result<Option<Properties>, BrokerError> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(BrokerError::Dir { path, source }),
    };
    let bad = |why: String| BrokerError::MetaProperties { path: path.clone(), why };
    let properties = Properties::parse(&text).map_err(|e| bad(e.to_string()))?;
    match properties.get("version") {
        Some("0" | "1") => Ok(Some(properties)),
        other => Err(bad(format!("version {} is not known", other.unwrap_or("(none)")))),
    }
}

fn write(dir: &Path, cluster_id: &str, node_id: i32) -> io::Result<()> {
    let temporary = dir.join("meta.properties.tmp");
    let mut file = File::create(&temporary)?;
    let directory_id = random_uuid();
    write!(file, "#\nversion=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n")?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn dir_error(path: &Path) -> impl FnOnce(io::Error) -> BrokerError {
    let path = path.to_owned();
    move |source| BrokerError::Dir { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, more: &str) -> BrokerConfig {
        let text = format!("log.dirs={}\n{more}", dir.display());
        BrokerConfig::from_properties(&Properties::parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_directory_is_formatted_once_and_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = prepare(&config(dir.path(), "")).unwrap().cluster_id;
        assert_eq!(first.len(), 22);
        assert_eq!(prepare(&config(dir.path(), "")).unwrap().cluster_id, first);
    }

    #[test]
    fn another_cluster_another_node_and_a_second_process_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = prepare(&config(dir.path(), "cluster.id=mine")).unwrap();
        assert_eq!(held.cluster_id, "mine");
        let busy = prepare(&config(dir.path(), "")).unwrap_err();
        assert!(matches!(busy, BrokerError::Locked { .. }), "{busy}");
        drop(held);
        let error = prepare(&config(dir.path(), "cluster.id=theirs")).unwrap_err();
        assert!(error.to_string().contains("belongs to cluster.id mine"), "{error}");
        let error = prepare(&config(dir.path(), "node.id=7")).unwrap_err();
        assert!(matches!(error, BrokerError::Foreign { key: "node.id", .. }), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = prepare(&config(&file, "")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
