//! Speaks TLS with a service whose certificate an authority of the system, or of the web, has signed.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{connection::Patience, trouble::Trouble};

/// Which certificates are trusted.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Trusts the system's authorities; where there are none, as in a small image, those of the web.
    pub fn of_system() -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let web = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned();
            roots.add_parsable_certificates(web);
        }
        Self::of(roots)
    }

    /// Trusts these authorities.
    pub fn of(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands.
    pub async fn begin(
        &self,
        host: &str,
        stream: TcpStream,
        patience: Patience,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Trouble::Question(format!("`{host}` is no name that a certificate can have"))
        })?;
        let begun = timeout(patience.left(), self.connector.connect(name, stream)).await;
        let begun = begun.map_err(|_| Trouble::Timeout(patience.whole()))?;
        begun.map_err(|error| {
            let host = host.to_owned();
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner {
                Some(rustls::Error::InvalidCertificate(why)) => {
                    Trouble::Certificate { host, why: why.to_string() }
                }
                Some(why) => Trouble::Tls { host, why: why.to_string() },
                None => Trouble::of_io(&host, error),
            }
        })
    }
}
