//! Container images in one file: an [OCI image layout] in a tar archive, with the `manifest.json`
//! of `docker save` beside it, so that containerd, Podman and Docker load it alike.
//!
//! The same files under the same name make the same bytes: no time, user or order of the machine
//! that writes it gets in.
//!
//! [OCI image layout]: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write as _,
};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// The platform of what is in the images.
const ARCHITECTURE: &str = "amd64";

/// The beginning of time: images have no date.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// An image of one layer, made from nothing.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The name without a registry, and the tag: `chaos-agent:0.1.0`.
    pub reference: &'a str,
    /// What a container runs when it is told nothing else, with its arguments.
    pub entrypoint: &'a [&'a str],
    pub programs: Vec<Program<'a>>,
    /// Files to read.
    pub documents: Vec<Document<'a>>,
    pub packing: Packing,
    /// What it says of itself to those who look at it; names as in the [specification].
    ///
    /// [specification]: https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
    pub labels: BTreeMap<String, String>,
}

impl Image<'_> {
    /// How many bytes its files have.
    pub fn size(&self) -> usize {
        let programs = self.programs.iter().map(|program| program.contents.len());
        programs.chain(self.documents.iter().map(|document| document.contents.len())).sum()
    }
}

/// How the layer of an image is kept in the archive, and pulled from a registry that it is pushed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is: nobody waits for it to be packed and unpacked.
    Plain,
    /// Every runtime unpacks it. Docker takes it in `manifest.json`, too, where it looks at the bytes to see what they
    /// are.
    Gzip,
}

impl Packing {
    /// The [layer] in this form. The header of gzip has no name and no time here.
    ///
    /// [layer]: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md
    fn pack(self, layer: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(layer),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(&layer).context("pack a layer")?;
                encoder.finish().context("end a packed layer")
            }
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

/// An executable file.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Where it lies in the container, without the leading slash.
    pub path: &'a str,
    pub contents: &'a [u8],
}

/// A file that nobody executes.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// As of a [`Program`].
    pub path: &'a str,
    pub contents: &'a [u8],
}

/// The archive of `images`, and the digest of each one's manifest, `sha256:…`.
pub fn write(images: &[Image<'_>]) -> Result<(Vec<u8>, Vec<String>)> {
    let mut archive = Archive { tar: Builder::new(Vec::new()), written: BTreeSet::new() };
    let (mut index, mut saved, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    for image in images {
        let Image { reference, entrypoint, programs, documents, packing, labels } = image;
        let Some((_, tag)) = reference.rsplit_once(':') else { bail!("{reference} has no tag") };
        let layer = layer(programs, documents)?;
        // Of the layer as a container sees it, however it is packed.
        let unpacked = digest(&layer);
        let layer = archive.blob(&packing.pack(layer)?)?;
        let mut settings = json!({ "Entrypoint": entrypoint, "WorkingDir": "/" });
        if !labels.is_empty() {
            settings["Labels"] = json!(labels);
        }
        let config = archive.document(&json!({
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": CREATED,
            "config": settings,
            "rootfs": { "type": "layers", "diff_ids": [unpacked] },
            "history": [{ "created": CREATED, "created_by": "cargo xtask image" }],
        }))?;
        let manifest = archive.document(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor(packing.media_type())],
        }))?;
        let mut entry = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
        entry["platform"] = json!({ "architecture": ARCHITECTURE, "os": "linux" });
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": tag,
            // containerd takes the name as it is; this is what a kubelet expands a bare one to.
            "io.containerd.image.name": format!("docker.io/library/{reference}"),
        });
        index.push(entry);
        saved.push(json!({
            "Config": config.path(),
            "RepoTags": [reference],
            "Layers": [layer.path()],
        }));
        digests.push(manifest.digest);
    }
    archive.file("oci-layout", &serde_json::to_vec(&json!({ "imageLayoutVersion": "1.0.0" }))?)?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": index,
    });
    archive.file("index.json", &serde_json::to_vec(&index)?)?;
    archive.file("manifest.json", &serde_json::to_vec(&saved)?)?;
    Ok((archive.tar.into_inner().context("end the archive")?, digests))
}

/// The tar archive of a layer.
fn layer(programs: &[Program<'_>], documents: &[Document<'_>]) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for Program { path, contents } in programs {
        append(&mut layer, path, 0o755, contents)?;
    }
    for Document { path, contents } in documents {
        append(&mut layer, path, 0o644, contents)?;
    }
    layer.into_inner().context("end a layer")
}

struct Archive {
    tar: Builder<Vec<u8>>,
    /// Images may share content, which is there once.
    written: BTreeSet<String>,
}

impl Archive {
    fn document(&mut self, document: &Value) -> Result<Blob> {
        // serde_json's maps are sorted, so the bytes are a function of the document.
        self.blob(&serde_json::to_vec(document).context("write a document of the image")?)
    }

    /// Adds content under its digest.
    fn blob(&mut self, contents: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: digest(contents), size: contents.len() };
        if self.written.insert(blob.digest.clone()) {
            self.file(&blob.path(), contents)?;
        }
        Ok(blob)
    }

    fn file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        append(&mut self.tar, path, 0o644, contents)
    }
}

/// Content in an archive.
struct Blob {
    digest: String,
    size: usize,
}

impl Blob {
    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.size })
    }
}

fn digest(contents: &[u8]) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(contents) {
        write!(digest, "{byte:02x}").expect("a String takes every write");
    }
    digest
}

/// Adds a file of root's without a date.
fn append(tar: &mut Builder<Vec<u8>>, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(contents.len().try_into().context("a file's size")?);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let added = tar.append_data(&mut header, path, contents);
    added.with_context(|| format!("add {path} to an archive"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use flate2::read::GzDecoder;

    use super::*;

    fn agent() -> Image<'static> {
        Image {
            reference: "chaos-agent:0.1.0",
            entrypoint: &["/chaos-agent"],
            programs: vec![Program { path: "chaos-agent", contents: b"the agent" }],
            documents: vec![Document { path: "usr/share/doc/a", contents: b"about it" }],
            packing: Packing::Gzip,
            labels: BTreeMap::from([("org.example.a".to_owned(), "b".to_owned())]),
        }
    }

    fn victim() -> Image<'static> {
        Image {
            reference: "victim:1",
            entrypoint: &["/bin/victim", "job"],
            programs: vec![Program { path: "bin/victim", contents: b"the victim" }],
            documents: vec![],
            packing: Packing::Plain,
            labels: BTreeMap::new(),
        }
    }

    fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            assert!(files.insert(path, contents).is_none(), "a file is there twice");
        }
        files
    }

    fn document(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
        serde_json::from_slice(&files[path]).unwrap()
    }

    /// The content that a descriptor names, after its digest and size were compared.
    fn follow<'f>(files: &'f BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'f [u8] {
        let named = descriptor["digest"].as_str().unwrap();
        let contents = &files[&format!("blobs/{}", named.replace(':', "/"))];
        assert_eq!(digest(contents), named);
        assert_eq!(descriptor["size"], contents.len());
        contents
    }

    /// The layer in what an image of this kind has as such.
    fn unpack_layer(image: &Image<'_>, layer: &[u8]) -> Vec<u8> {
        match image.packing {
            Packing::Plain => layer.to_vec(),
            Packing::Gzip => {
                let mut unpacked = Vec::new();
                GzDecoder::new(layer).read_to_end(&mut unpacked).unwrap();
                unpacked
            }
        }
    }

    #[test]
    fn every_descriptor_leads_to_its_content() {
        let images = [agent(), victim()];
        let (archive, digests) = write(&images).unwrap();
        let files = unpack(&archive);
        let index = document(&files, "index.json");
        let entries = index["manifests"].as_array().unwrap();
        for ((image, entry), digest) in images.iter().zip(entries).zip(&digests) {
            assert_eq!(entry["digest"], **digest);
            let name = &entry["annotations"]["io.containerd.image.name"];
            assert_eq!(*name, format!("docker.io/library/{}", image.reference));
            let manifest: Value = serde_json::from_slice(follow(&files, entry)).unwrap();
            let config: Value =
                serde_json::from_slice(follow(&files, &manifest["config"])).unwrap();
            assert_eq!(config["config"]["Entrypoint"], json!(image.entrypoint));
            let layer = unpack_layer(image, follow(&files, &manifest["layers"][0]));
            assert_eq!(manifest["layers"][0]["mediaType"], image.packing.media_type());
            assert_eq!(config["rootfs"]["diff_ids"], json!([super::digest(&layer)]));
            let programs = image.programs.iter().map(|file| (file.path, file.contents));
            let documents = image.documents.iter().map(|file| (file.path, file.contents));
            let files = programs.chain(documents).map(|(path, is)| (path.to_owned(), is.to_vec()));
            assert_eq!(unpack(&layer), files.collect());
            let labels = config["config"].get("Labels");
            assert_eq!(labels.is_some(), !image.labels.is_empty());
            assert!(labels.is_none_or(|labels| *labels == json!(image.labels)));
        }
        assert_eq!(document(&files, "oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }));
    }

    #[test]
    fn docker_finds_the_same_content() {
        let files = unpack(&write(&[agent()]).unwrap().0);
        let saved = document(&files, "manifest.json");
        assert_eq!(saved[0]["RepoTags"], json!(["chaos-agent:0.1.0"]));
        let config = document(&files, saved[0]["Config"].as_str().unwrap());
        let layer = &files[saved[0]["Layers"][0].as_str().unwrap()];
        let layer = unpack_layer(&agent(), layer);
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
    }

    #[test]
    fn programs_can_be_executed_documents_cannot_and_both_belong_to_root() {
        let layer = layer(&agent().programs, &agent().documents).unwrap();
        let mut layer = tar::Archive::new(layer.as_slice());
        let headers = layer.entries().unwrap().map(|entry| entry.unwrap().header().clone());
        let headers: Vec<_> = headers.collect();
        let modes = headers.iter().map(|header| header.mode().unwrap());
        assert!(modes.eq([0o755, 0o644]));
        for header in headers {
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 0);
        }
    }

    #[test]
    fn the_same_files_make_the_same_bytes_and_others_do_not() {
        let once = write(&[agent()]).unwrap();
        assert_eq!(once, write(&[agent()]).unwrap());
        let changed = Program { path: "chaos-agent", contents: b"the agenT" };
        let (_, other) = write(&[Image { programs: vec![changed], ..agent() }]).unwrap();
        assert_ne!(once.1, other);
    }

    #[test]
    fn shared_content_is_there_once() {
        let twin = Image { reference: "twin:1", ..agent() };
        let (archive, digests) = write(&[agent(), twin]).unwrap();
        // `unpack` refuses a file that is there twice.
        unpack(&archive);
        assert_eq!(digests[0], digests[1]);
    }

    #[test]
    fn a_reference_needs_a_tag() {
        let error = write(&[Image { reference: "chaos-agent", ..agent() }]).unwrap_err();
        assert_eq!(error.to_string(), "chaos-agent has no tag");
    }
}
