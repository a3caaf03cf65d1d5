//! `fail dns`: what resolvers are told is what the ledger says.

mod delays;
mod embedded;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use chaos_tests::{
    cgroup::TestCgroup,
    process::{Place, Process},
    require,
};

use crate::{
    agent::{Agent, has_frames},
    checksums::Counters,
    name_server::NameServer,
    pair::Pair,
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

/// A question with the EDNS record of a resolver that sends a cookie.
pub fn question(name: &str, kind: u8, edns: bool) -> Vec<u8> {
    let mut bytes = vec![0xbe, 0xef, 1, 0x10, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    if edns {
        bytes.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8]);
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    }
    bytes
}

/// What the answer with this code to such a question must be, byte by byte.
fn refusal(name: &str, kind: u8, edns: bool, code: u8) -> Vec<u8> {
    let mut bytes = question(name, kind, false);
    bytes[2..4].copy_from_slice(&[0x81, 0x90 | code]);
    bytes[11] = u8::from(edns);
    if edns {
        bytes.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    }
    bytes
}

/// Asks questions that come as hexadecimal digits behind address and port, and prints the answers
/// likewise, or `-` where none comes within so many seconds, and how many milliseconds that took.
const ASK: &str = r#"
use Socket qw(:all);
use Time::HiRes qw(time);
my ($host, $port, $patience, @questions) = @ARGV;
my $family = $host =~ /:/ ? AF_INET6 : AF_INET;
my $address = inet_pton($family, $host);
my $to = $family == AF_INET6 ? pack_sockaddr_in6($port, $address) : pack_sockaddr_in($port, $address);
socket(S, $family, SOCK_DGRAM, 0) or die "socket: $!";
connect(S, $to) or die "connect: $!";
for (@questions) {
    my $began = time;
    defined(send(S, pack("H*", $_), 0)) or die "send: $!";
    my $ready = "";
    vec($ready, fileno(S), 1) = 1;
    my $answer = "";
    recv(S, $answer, 512, MSG_DONTWAIT) if select($ready, undef, undef, $patience);
    printf "%s %.3f\n", length($answer) ? unpack("H*", $answer) : "-", 1000 * (time - $began);
}
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds in which an answer comes, also on an emulated machine, and in which none does.
const SOON: &str = "10";
const A_WHILE: &str = "0.1";

/// What became of a question.
pub struct Answered {
    pub answer: Option<Vec<u8>>,
    milliseconds: f64,
}

/// What a process there is answered, question by question.
pub fn ask(
    place: Place<'_>,
    to: SocketAddr,
    patience: &str,
    questions: &[Vec<u8>],
) -> Result<Vec<Answered>> {
    let answered = |line: &str| -> Answered {
        let (bytes, took) = line.split_once(' ').expect("an answer and a time");
        let digits = |at: usize| u8::from_str_radix(&bytes[at..at + 2], 16).expect("digits");
        Answered {
            answer: (bytes != "-").then(|| (0..bytes.len()).step_by(2).map(digits).collect()),
            milliseconds: took.parse().expect("milliseconds"),
        }
    };
    let mut perl = Command::new("perl");
    perl.args(["-e", ASK, &to.ip().to_string(), &to.port().to_string(), patience]);
    perl.args(questions.iter().map(|question| hex(question)));
    let perl = Process::spawn(perl, place)?;
    let answers: Vec<_> = perl.remaining_lines().map(|line| answered(&line)).collect();
    assert_eq!(answers.len(), questions.len(), "questions to {to}");
    Ok(answers)
}

/// What is asked is answered by the server; in milliseconds, how long that took.
fn took(answered: &Answered, kind: u8, name: &str) -> Result<f64> {
    let answer = answered.answer.as_ref().with_context(|| format!("{name} is not answered"))?;
    assert_eq!((answer[3] & 0xf, answer[7]), (0, u8::from(kind == 1)), "{name}");
    Ok(answered.milliseconds)
}

/// Names below example.com, and others.
fn names() -> ([String; 4], [&'static str; 3]) {
    let label = "x".repeat(63);
    (
        [
            "www.Example.COM".to_owned(),
            "a.B.c.example.com".to_owned(),
            format!("{label}.{label}.www.example.com"),
            // Longer than the key that it is looked up by.
            format!("{label}.{label}.{label}.{}.example.com", "y".repeat(40)),
        ],
        ["example.com", "notexample.com", "example.com.org"],
    )
}

/// Asks about names that are hit and others, of types A and AAAA, with and without EDNS, with
/// each answer that there is.
fn check(server: &NameServer, pair: &Pair) -> Result<()> {
    let (hit, spared) = names();
    for (word, code) in
        [("NXDOMAIN", Some(3)), ("SERVFAIL", Some(2)), ("REFUSED", Some(5)), ("TIMEOUT", None)]
    {
        let fault = format!("fail dns with {word} for *.example.com to {}", server.address.ip());
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        for (kind, edns) in [(1, true), (28, false)] {
            let before = server.asked();
            let questions: Vec<_> = hit.iter().map(|name| question(name, kind, edns)).collect();
            let patience = if code.is_some() { SOON } else { A_WHILE };
            let answers = ask(pair.client(), server.address, patience, &questions)?;
            for (name, answer) in hit.iter().zip(answers) {
                let expected = code.map(|code| refusal(name, kind, edns, code));
                assert_eq!(answer.answer, expected, "{fault}: {name}");
            }
            assert_eq!(server.asked(), before, "{fault}");
            let questions: Vec<_> = spared.map(|name| question(name, kind, edns)).into();
            let answers = ask(pair.client(), server.address, SOON, &questions)?;
            for (name, answered) in spared.iter().zip(&answers) {
                took(answered, kind, name).context(fault.clone())?;
            }
            assert_eq!(server.asked(), before + spared.len() as u64, "{fault}");
        }
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        let hits = 2 * hit.len() as u64;
        assert_eq!((counts.matched, counts.injected), (hits, hits), "{fault}: {counts:?}");
    }
    Ok(())
}

#[test]
fn questions_are_answered_to_the_byte() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let addresses = [IpAddr::V4(pair.server_end.v4), IpAddr::V6(pair.server_end.v6)];
    let servers = addresses.map(|ip| NameServer::start(&pair.server_netns, ip, ADDRESS));
    let [v4, v6] = servers;
    let (v4, v6) = (v4?, v6?);
    // Checksums are verified where no device computes them.
    for computed in [true, false] {
        if !computed {
            pair.client_netns.without_tx_checksum("eth0")?;
        }
        let before = Counters::read(&pair.client_netns)?.checksum_errors();
        check(&v4, &pair)?;
        check(&v6, &pair)?;
        assert_eq!(Counters::read(&pair.client_netns)?.checksum_errors(), before);
    }
    Ok(())
}

#[test]
fn a_server_on_loopback_is_answered_for() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for ip in ["127.0.0.53", "::1"] {
        check(&NameServer::start(&pair.client_netns, ip.parse()?, ADDRESS)?, &pair)?;
    }
    Ok(())
}

/// Prints glibc's error number for a name (`EAI_NONAME` is -2, `EAI_AGAIN` -3), or 0 and how many
/// addresses there are.
const RESOLVE: &str = r#"
mount --bind "$0" /etc/resolv.conf && exec perl -MSocket=getaddrinfo,SOCK_STREAM -e '
my ($error, @found) = getaddrinfo($ARGV[0], "", { socktype => SOCK_STREAM });
printf "%d %d\n", $error, scalar @found;' "$1"
"#;

#[test]
fn resolvers_of_the_c_library_report_what_they_do_in_the_field() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let neighbour = TestCgroup::new(&pair.claim, "neighbour")?;
    let server = NameServer::start(&pair.server_netns, pair.server_end.v4.into(), ADDRESS)?;
    let mut settings = tempfile::NamedTempFile::new()?;
    writeln!(settings, "nameserver {}\noptions timeout:1 attempts:1", pair.server_end.v4)?;
    let resolve = |place: Place<'_>, name: &str| -> Result<String> {
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", RESOLVE]).arg(settings.path()).arg(name);
        let shell = Process::spawn(shell, place)?;
        shell.remaining_lines().last().context("nothing was printed")
    };
    for (word, error) in [("NXDOMAIN", -2), ("SERVFAIL", -3), ("REFUSED", -3), ("TIMEOUT", -3)] {
        let fault = format!("fail dns with {word} for *.example.com");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let (before, began) = (server.asked(), Instant::now());
        assert_eq!(resolve(pair.client(), "www.example.com.")?, format!("{error} 0"), "{fault}");
        println!("{fault}: {error} after {:?}", began.elapsed());
        if word == "TIMEOUT" {
            assert!(began.elapsed() >= Duration::from_secs(1), "{fault}: too soon");
        }
        assert_eq!(server.asked(), before, "{fault}");
        // The C library asks for both families.
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        assert!(counts.injected >= 2 && counts.injected == counts.matched, "{fault}: {counts:?}");
        assert_eq!(resolve(pair.client(), "www.example.org.")?, "0 1", "{fault}");
        let beside = Place::here().cgroup(&neighbour).netns(&pair.client_netns);
        assert_eq!(resolve(beside, "www.example.com.")?, "0 1", "{fault}");
        assert_eq!(agent.counts(&pair.client_cgroup, 0)?, counts, "{fault}");
    }
    Ok(())
}
