//! A kernel's modules, in the order in which they can be loaded.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Read as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use lzma_rust2::XzReader;

/// A module as the kernel loads it.
pub struct Module {
    /// The file's name, without compression.
    pub name: String,
    pub contents: Vec<u8>,
}

/// Reads those of `wanted` that are not built in, each after all that it depends on, and before them those
/// of `optional` that this kernel has. `dir` is `lib/modules/RELEASE`.
pub fn read(dir: &Path, optional: &[&str], wanted: &[&str]) -> Result<Vec<Module>> {
    let text = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let (dependencies, builtin) = (text("modules.dep")?, text("modules.builtin")?);
    let paths = resolve(&dependencies, &builtin, optional, wanted)
        .with_context(|| format!("modules in {}", dir.display()))?;
    paths.iter().map(|path| load(&dir.join(path))).collect()
}

fn load(path: &Path) -> Result<Module> {
    let raw = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let name = path.file_name().context("a module has a name")?.to_string_lossy();
    match name.strip_suffix(".xz") {
        None => Ok(Module { name: name.into_owned(), contents: raw }),
        Some(name) => {
            let mut contents = Vec::new();
            XzReader::new(raw.as_slice(), true)
                .read_to_end(&mut contents)
                .with_context(|| format!("decompress {}", path.display()))?;
            Ok(Module { name: name.to_owned(), contents })
        }
    }
}

/// The paths of `optional` and `wanted` and of what they depend on, in the order of loading. The first two
/// arguments are the contents of the kernel's modules.dep(5) and `modules.builtin`.
fn resolve<'a>(
    dependencies: &'a str,
    builtin: &str,
    optional: &[&str],
    wanted: &[&str],
) -> Result<Vec<&'a str>> {
    let builtin: HashSet<String> = builtin.lines().map(module_name).collect();
    let mut needs: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut by_name: HashMap<String, &str> = HashMap::new();
    for line in dependencies.lines() {
        let (path, list) =
            line.split_once(':').with_context(|| format!("modules.dep: no colon in {line:?}"))?;
        needs.insert(path, list.split_whitespace().collect());
        by_name.insert(module_name(path), path);
    }
    let mut order = Vec::new();
    for path in optional.iter().filter_map(|name| by_name.get(*name)) {
        visit(path, &needs, &mut order)?;
    }
    for &name in wanted {
        if let Some(path) = by_name.get(name) {
            visit(path, &needs, &mut order)?;
        } else if !builtin.contains(name) {
            bail!("no module {name}");
        }
    }
    Ok(order)
}

fn visit<'a>(
    path: &'a str,
    needs: &HashMap<&'a str, Vec<&'a str>>,
    order: &mut Vec<&'a str>,
) -> Result<()> {
    if order.contains(&path) {
        return Ok(());
    }
    let list = needs.get(path).with_context(|| format!("modules.dep does not list {path}"))?;
    for needed in list {
        visit(needed, needs, order)?;
    }
    order.push(path);
    Ok(())
}

/// The name by which the kernel knows the module in this file.
fn module_name(path: &str) -> String {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lzma_rust2::{XzOptions, XzWriter};

    use super::*;

    const DEPENDENCIES: &str = "\
kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
kernel/fs/netfs/netfs.ko.xz:
kernel/net/9p/9pnet.ko.xz:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/net/9p/9pnet.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz:
kernel/drivers/char/hw_random/virtio-rng.ko.xz:
";

    #[test]
    fn dependencies_come_first_and_once_and_what_is_optional_before() {
        let wanted = ["9pnet_virtio", "9p", "virtio_rng"];
        let order = resolve(DEPENDENCIES, "", &["netfs", "crc32"], &wanted).unwrap();
        let names: Vec<String> = order.into_iter().map(module_name).collect();
        let expected =
            ["netfs", "virtio_ring", "virtio", "9pnet", "9pnet_virtio", "9p", "virtio_rng"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_built_in_is_left_out_and_what_is_nowhere_is_an_error() {
        let builtin = "kernel/net/sched/sch-fq.ko\n";
        assert_eq!(resolve(DEPENDENCIES, builtin, &[], &["sch_fq"]).unwrap(), Vec::<&str>::new());
        let error = resolve(DEPENDENCIES, builtin, &[], &["sch_netem"]).unwrap_err();
        assert_eq!(error.to_string(), "no module sch_netem");
    }

    #[test]
    fn compressed_modules_are_decompressed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = XzWriter::new(Vec::new(), XzOptions::default()).unwrap();
        writer.write_all(b"module").unwrap();
        fs::write(dir.path().join("a.ko.xz"), writer.finish().unwrap()).unwrap();
        fs::write(dir.path().join("b.ko"), b"plain").unwrap();
        fs::write(dir.path().join("modules.dep"), "b.ko: a.ko.xz\na.ko.xz:\n").unwrap();
        fs::write(dir.path().join("modules.builtin"), "").unwrap();
        let modules = read(dir.path(), &[], &["b"]).unwrap();
        let modules: Vec<_> =
            modules.iter().map(|Module { name, contents }| (&**name, &**contents)).collect();
        assert_eq!(modules, [("a.ko", &b"module"[..]), ("b.ko", b"plain")]);
    }
}
