//! Who the server is and who its clients are: certificates, bearer tokens, kubeconfig files.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

use super::{HOST, NODE_ADDRESS, SERVICE};

/// The namespace of the agent's service account.
pub const AGENT_NAMESPACE: &str = "chaos-agent";
/// The name of the node, where there is a real one.
pub const NODE: &str = "node";
/// The agent's service account.
pub const AGENT_SERVICE_ACCOUNT: &str = "chaos-agent";

/// A client of the API server with a token for as long as that runs. Service accounts have
/// [tokens of their own](super::ControlPlane::token_on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Member of `system:masters`: may do everything.
    Admin,
    /// The kubelet of [`NODE`].
    Kubelet,
    /// What translates the addresses of Services there.
    KubeProxy,
}

impl Identity {
    const ALL: [Self; 3] = [Self::Admin, Self::Kubelet, Self::KubeProxy];

    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }

    /// User name and groups.
    fn user_and_groups(self) -> (String, String) {
        match self {
            Self::Admin => ("admin".to_owned(), "system:masters".to_owned()),
            Self::Kubelet => (format!("system:node:{NODE}"), "system:nodes".to_owned()),
            // Its rights go by its name; everybody is in this group.
            Self::KubeProxy => ("system:kube-proxy".to_owned(), "system:authenticated".to_owned()),
        }
    }
}

/// What the server is started with.
#[derive(Debug)]
pub struct Pki {
    pub ca_certificate: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Signs service account tokens; without one the server does not start.
    pub service_account_key: PathBuf,
    /// Verifies them.
    pub service_account_public_key: PathBuf,
    /// What the kubelet serves with.
    pub kubelet_certificate: PathBuf,
    pub kubelet_key: PathBuf,
    /// The bearer tokens that the server accepts, a line each: token, user, uid, groups.
    pub token_file: PathBuf,
    tokens: [String; Identity::ALL.len()],
}

impl Pki {
    /// Makes new keys, tokens and certificates in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        ca.distinguished_name.push(DnType::CommonName, "chaos-agent tests");
        let ca_key = KeyPair::generate()?;
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate()?;
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", HOST, SERVICE];
        let certificate =
            CertificateParams::new(names.map(str::to_owned))?.signed_by(&key, &issuer)?;
        let kubelet_key = KeyPair::generate()?;
        let kubelet_certificate =
            CertificateParams::new([NODE_ADDRESS.to_owned()])?.signed_by(&kubelet_key, &issuer)?;

        let accounts = KeyPair::generate()?;

        let tokens = [random_token()?, random_token()?, random_token()?];
        let mut token_lines = String::new();
        for (identity, token) in Identity::ALL.into_iter().zip(&tokens) {
            let (user, groups) = identity.user_and_groups();
            writeln!(token_lines, "{token},{user},{},\"{groups}\"", identity.name())?;
        }
        Ok(Self {
            ca_certificate: write(dir, "ca.crt", &ca_certificate.pem())?,
            certificate: write(dir, "server.crt", &certificate.pem())?,
            key: write(dir, "server.key", &key.serialize_pem())?,
            service_account_key: write(dir, "sa.key", &accounts.serialize_pem())?,
            service_account_public_key: write(dir, "sa.pub", &accounts.public_key_pem())?,
            kubelet_certificate: write(dir, "kubelet.crt", &kubelet_certificate.pem())?,
            kubelet_key: write(dir, "kubelet.key", &kubelet_key.serialize_pem())?,
            token_file: write(dir, "tokens.csv", &token_lines)?,
            tokens,
        })
    }
}

/// What clients need to know.
#[derive(Debug)]
pub struct Credentials {
    ca_certificate: PathBuf,
    tokens: [String; Identity::ALL.len()],
    kubeconfigs: [PathBuf; Identity::ALL.len()],
}

impl Credentials {
    pub fn create(dir: &Path, url: &str, pki: &Pki) -> Result<Self> {
        let Pki { ca_certificate, tokens, .. } = pki;
        let write = |identity: Identity| {
            write_kubeconfig(dir, url, ca_certificate, identity.name(), &tokens[identity as usize])
        };
        let [admin, kubelet, kube_proxy] = Identity::ALL.map(write);
        let kubeconfigs = [admin?, kubelet?, kube_proxy?];
        Ok(Self { ca_certificate: ca_certificate.clone(), tokens: tokens.clone(), kubeconfigs })
    }

    pub fn ca_certificate(&self) -> &Path {
        &self.ca_certificate
    }

    pub fn token(&self, identity: Identity) -> &str {
        &self.tokens[identity as usize]
    }

    pub fn kubeconfig(&self, identity: Identity) -> &Path {
        &self.kubeconfigs[identity as usize]
    }
}

/// Writes a kubeconfig file, `NAME.kubeconfig` in `dir`, with which a client has this token.
pub fn write_kubeconfig(
    dir: &Path,
    url: &str,
    ca_certificate: &Path,
    name: &str,
    token: &str,
) -> Result<PathBuf> {
    // YAML includes JSON.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "test",
            "cluster": { "server": url, "certificate-authority": ca_certificate },
        }],
        "users": [{ "name": name, "user": { "token": token } }],
        "contexts": [{ "name": name, "context": { "cluster": "test", "user": name } }],
        "current-context": name,
    });
    write(dir, &format!("{name}.kubeconfig"), &config.to_string())
}

fn write(dir: &Path, name: &str, content: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
