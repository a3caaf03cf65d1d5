//! Reads where a probe asks: URLs, and `HOST:PORT`.

use http::Uri;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub is_secure: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// As the header `Host` has it.
    pub authority: String,
    /// With the query.
    pub path: String,
}

impl Location {
    /// Reads a URL. The error says what would be right.
    pub fn of_url(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| {
            format!("`{text}` is no URL: {error}; write it as `http://web.shop/cart`, with signs such as blanks as `%20`")
        })?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => {
                return Err(format!(
                    "`{text}`: `{other}` is not asked; write `http://` or `https://`"
                ));
            }
            None => return Err(format!("`{text}` has no `http://` or `https://` in front")),
        };
        let authority = uri.authority().ok_or_else(|| format!("`{text}` has no host"))?;
        if authority.as_str().contains('@') {
            let remedy = "use a header `Authorization` with `secretKeyRef`";
            return Err(format!("a URL has no user and no password; {remedy}"));
        }
        let host = bare(authority.host());
        if host.is_empty() {
            return Err(format!("`{text}` has no host"));
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(0) => return Err(format!("`{text}`: no service has the port 0")),
            Some(port) => port,
            None if has_port => return Err(format!("`{text}`: a port is 1 to 65535")),
            None if is_secure => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_secure, host, port, authority: authority.to_string(), path })
    }

    /// The path without the query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or("/")
    }

    /// The same server, at a path below that of this URL, with this query if there is one.
    pub fn below(mut self, path: &str, query: &str) -> Self {
        let base = self.path_only().trim_end_matches('/');
        let mark = if query.is_empty() { "" } else { "?" };
        self.path = format!("{base}{path}{mark}{query}");
        self
    }
}

/// Reads `HOST:PORT`, or `[IPv6]:PORT`. The error says what would be right.
pub fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong =
        || format!("`{text}` is no `HOST:PORT`, such as `db.shop:5432` or `[fd00::1]:5432`");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_plain = !host.is_empty()
        && host.chars().all(|sign| sign.is_ascii_alphanumeric() || "-._".contains(sign));
    let is_ipv6 = is_bracketed && bare(host).parse::<std::net::Ipv6Addr>().is_ok();
    let port = port.parse().ok().filter(|port: &u16| *port > 0).ok_or_else(wrong)?;
    if is_plain || is_ipv6 { Ok((bare(host), port)) } else { Err(wrong()) }
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (text, expected) in [
            ("http://web.shop/cart?id=1", Some((false, "web.shop", 80, "/cart?id=1"))),
            ("https://web.shop", Some((true, "web.shop", 443, "/"))),
            ("http://web:8080?a=b", Some((false, "web", 8080, "/?a=b"))),
            ("http://[fd00::1]:81/x#part", Some((false, "fd00::1", 81, "/x"))),
            ("web.shop/cart", None),
            ("ftp://web.shop/cart", None),
            ("http:///cart", None),
            ("http://web:0/", None),
            ("http://web:99999/", None),
            ("http://user:word@web/", None),
            ("http://web/a b", None),
            ("http://web/\r\nHost: other", None),
            ("", None),
        ] {
            let read = Location::of_url(text);
            let found =
                read.as_ref().ok().map(|one| (one.is_secure, &*one.host, one.port, &*one.path));
            assert_eq!(found, expected, "{text}");
        }
        let base = Location::of_url("http://web/prometheus/").unwrap();
        assert_eq!(
            base.below("/api/v1/query", "query=up").path,
            "/prometheus/api/v1/query?query=up"
        );
    }

    #[test]
    fn hosts_have_a_port() {
        for (text, expected) in [
            ("db.shop:5432", Some(("db.shop", 5432))),
            ("10.0.0.1:80", Some(("10.0.0.1", 80))),
            ("[fd00::1]:80", Some(("fd00::1", 80))),
            ("fd00::1:80", None),
            ("db.shop", None),
            ("db.shop:", None),
            ("db.shop:0", None),
            (":80", None),
            ("[db]:80", None),
            ("http://db:80", None),
        ] {
            let read = host_and_port(text).ok();
            assert_eq!(read, expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
