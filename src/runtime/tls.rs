//! TLS 1.3 where one side knows the other's Ed25519 key.
//!
//! There is no authority: a certificate is the paper around a key, and only the key counts. Names
//! and dates on it are not looked at, so a wrong clock does no harm. Any client that asks for no
//! authority can talk to us (`curl --insecure`). Not here: who has which key, and what to tell
//! people whose key is wrong.

use std::fmt;
use std::io;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime, alg_id};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey, public_key_to_spki};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName,
    InvalidMessage, OtherError, ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
};
use zeroize::Zeroizing;

use super::channel::Channel;
use super::stream::Stream;

/// An Ed25519 key, the public half.
pub type Key = [u8; 32];

/// The side that has a key: its certificate, made at the start.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    shown: Arc<SingleCertAndKey>,
}

/// Why there is no certificate. A good key always gets one.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be made: {0}")]
pub struct CertificateFailed(String);

/// Why two sides did not get into TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The other side has proved to be somebody, but not the one we asked for.
    #[error("it has another key: {}", Hex(.0))]
    WrongKey(Key),
    #[error("it shows no Ed25519 key")]
    NoKey,
    #[error("it does not speak TLS")]
    NotTls,
    #[error("it closed the connection during the TLS handshake")]
    Closed,
    #[error("the TLS handshake failed: {0}")]
    Failed(rustls::Error),
    #[error(transparent)]
    Io(io::Error),
}

struct Hex<'a>(&'a Key);

impl Acceptor {
    pub fn new(key: &SigningKey) -> Result<Acceptor, CertificateFailed> {
        let failed = |error: &dyn fmt::Display| CertificateFailed(error.to_string());
        let secret = key.to_pkcs8_der().map_err(|error| failed(&error))?;
        let secret = PrivatePkcs8KeyDer::from(secret.as_bytes());
        let certificate = certificate(&secret).map_err(|error| failed(&error))?;
        // Not `with_single_cert`: that wants a copy of the secret, which nobody would wipe.
        let signing = ring::sign::any_eddsa_type(&secret).map_err(|error| failed(&error))?;
        let shown = CertifiedKey::new(vec![certificate], signing);
        let shown = Arc::new(SingleCertAndKey::from(shown));
        let anybody = AnyKey {
            provider: provider(),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| failed(&error))?
            .with_client_cert_verifier(Arc::new(anybody))
            .with_cert_resolver(shown.clone());
        // Resuming would save a signature, and cost memory for each client.
        config.send_tls13_tickets = 0;
        Ok(Acceptor {
            config: Arc::new(config),
            shown,
        })
    }

    /// Calls the one who has this key, and shows our own.
    pub fn connect(&self, stream: Stream, key: Key) -> Result<Channel, TlsError> {
        shake_hands(stream, key, Some(self.shown.clone()))
    }

    /// Shakes hands with a client, as long as the stream is patient.
    pub fn accept(&self, mut stream: Stream) -> Result<Channel, TlsError> {
        let mut tls = ServerConnection::new(self.config.clone()).map_err(TlsError::Failed)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).map_err(TlsError::from)?;
        }
        Ok(Channel::Server(Box::new(StreamOwned::new(tls, stream))))
    }
}

/// Shakes hands with the one who has this key, as long as the stream is patient.
pub fn connect(stream: Stream, key: Key) -> Result<Channel, TlsError> {
    shake_hands(stream, key, None)
}

fn shake_hands(
    mut stream: Stream,
    key: Key,
    shown: Option<Arc<SingleCertAndKey>>,
) -> Result<Channel, TlsError> {
    // A name must be there; it is neither sent nor compared.
    let name = ServerName::from(stream.peer_addr().map_err(TlsError::Io)?.ip());
    let mut tls = client_config(key, shown)
        .and_then(|config| ClientConnection::new(Arc::new(config), name))
        .map_err(TlsError::Failed)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(TlsError::from)?;
    }
    Ok(Channel::Client(Box::new(StreamOwned::new(tls, stream))))
}

fn client_config(
    key: Key,
    shown: Option<Arc<SingleCertAndKey>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let only_this = OnlyThisKey {
        key,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        // So rustls calls every verifier of one's own.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(only_this));
    let mut config = match shown {
        Some(shown) => config.with_client_cert_resolver(shown),
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The paper around a key, signed by itself.
fn certificate(secret: &PrivatePkcs8KeyDer<'_>) -> Result<CertificateDer<'static>, rcgen::Error> {
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(secret, &rcgen::PKCS_ED25519)?;
    let key = Zeroizing::new(key);
    let mut params = rcgen::CertificateParams::default();
    let name = rcgen::DnType::CommonName;
    params
        .distinguished_name
        .push(name, "Mini BitTorrent tracker");
    Ok(params.self_signed(&*key)?.der().clone())
}

/// Believes a certificate with one key, whatever else it says.
#[derive(Debug)]
struct OnlyThisKey {
    key: Key,
    provider: Arc<CryptoProvider>,
}

/// How the verifier's refusal comes out of rustls again.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("another key")]
    WrongKey(Key),
    #[error("not an Ed25519 key")]
    NoKey,
}

impl ServerCertVerifier for OnlyThisKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = match shown_key(certificate)? {
            Some(key) if key == self.key => return Ok(ServerCertVerified::assertion()),
            Some(key) => Refused::WrongKey(key),
            None => Refused::NoKey,
        };
        Err(CertificateError::Other(OtherError(Arc::new(refused))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.2 is not offered.
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    /// That the other side has the secret half, too: anybody can show a certificate.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Asks a client for a certificate, and takes any or none: who a key is, others know.
#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match shown_key(certificate)? {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => {
                let refused = OtherError(Arc::new(Refused::NoKey));
                Err(CertificateError::Other(refused).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    /// That the client has the secret half, too.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The key that a certificate is the paper around, if it is an Ed25519 key.
///
/// # Errors
/// rustls's, if the bytes are not a certificate.
pub fn shown_key(certificate: &[u8]) -> Result<Option<Key>, rustls::Error> {
    let certificate = CertificateDer::from(certificate);
    let shown = ParsedCertificate::try_from(&certificate)?.subject_public_key_info();
    let key: Option<Key> = shown.last_chunk().copied();
    // There is one way to write such a key.
    let written = |key: &Key| shown == public_key_to_spki(&alg_id::ED25519, key);
    Ok(key.filter(written))
}

impl From<io::Error> for TlsError {
    /// rustls wraps its own errors in those of the socket.
    fn from(error: io::Error) -> TlsError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return TlsError::Closed;
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            None => TlsError::Io(error),
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                TlsError::NotTls
            }
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
                match other.0.downcast_ref() {
                    Some(Refused::WrongKey(key)) => TlsError::WrongKey(*key),
                    _ => TlsError::NoKey,
                }
            }
            Some(failed) => TlsError::Failed(failed.clone()),
        }
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use crate::runtime::stop::Stop;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn stream(socket: TcpStream) -> Stream {
        let poll = Duration::from_millis(10);
        Stream::new(socket, Stop::new(), poll, PATIENCE).unwrap()
    }

    fn sockets() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (stream(near), stream(listener.accept().unwrap().0))
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(seed: u8) -> Key {
        key(seed).verifying_key().to_bytes()
    }

    /// The client, then the server.
    type Shaken = (Result<Channel, TlsError>, Result<Channel, TlsError>);

    fn shake_hands(has: u8, expected: u8) -> Shaken {
        let (client, server) = sockets();
        let acceptor = Acceptor::new(&key(has)).unwrap();
        let server = std::thread::spawn(move || acceptor.accept(server));
        let client = connect(client, public(expected));
        (client, server.join().unwrap())
    }

    #[test]
    fn what_is_said_inside_arrives_and_ends_cleanly() {
        let (client, server) = shake_hands(1, 1);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        let question: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let expected = question.clone();
        let answering = std::thread::spawn(move || {
            assert_eq!(server.first_byte().unwrap(), Some(0));
            let mut got = vec![0; expected.len()];
            server.read_exact(&mut got).unwrap();
            assert!(got == expected);
            server.write_all(b"thanks").unwrap();
            server.finish_writing();
            assert_eq!(server.read(&mut [0; 4]).unwrap(), 0);
        });
        client.write_all(&question).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "thanks");
        client.say_end().unwrap();
        answering.join().unwrap();
    }

    #[test]
    fn a_certificate_shows_its_key() {
        let secret = key(1).to_pkcs8_der().unwrap();
        let made = certificate(&PrivatePkcs8KeyDer::from(secret.as_bytes())).unwrap();
        assert_eq!(shown_key(&made), Ok(Some(public(1))));
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = rcgen::CertificateParams::default().self_signed(&other);
        assert_eq!(shown_key(other.unwrap().der()), Ok(None));
        for cut in 0..made.len() {
            assert!(shown_key(&made[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn another_key_is_refused_and_named() {
        let (client, server) = shake_hands(1, 2);
        match client.err() {
            Some(TlsError::WrongKey(shown)) => assert_eq!(shown, public(1)),
            other => panic!("{other:?}"),
        }
        assert!(server.is_err());
    }

    #[test]
    fn a_client_may_show_its_key_too() {
        for shows in [true, false] {
            let (client, server) = sockets();
            let acceptor = Acceptor::new(&key(1)).unwrap();
            let server = std::thread::spawn(move || {
                let mut channel = acceptor.accept(server).unwrap();
                assert_eq!(channel.first_byte().unwrap(), Some(b'x'));
                channel.client_key()
            });
            let mut client = if shows {
                Acceptor::new(&key(2)).unwrap().connect(client, public(1))
            } else {
                connect(client, public(1))
            }
            .unwrap();
            client.write_all(b"x").unwrap();
            let expected = shows.then(|| public(2));
            assert_eq!(server.join().unwrap(), expected);
        }
    }

    #[test]
    fn the_certificate_of_a_key_is_not_enough() {
        // The certificate of key 1 in the hands of somebody who has key 2.
        let secret = key(1).to_pkcs8_der().unwrap();
        let certificate = certificate(&PrivatePkcs8KeyDer::from(secret.as_bytes())).unwrap();
        let other = key(2).to_pkcs8_der().unwrap();
        let other = PrivatePkcs8KeyDer::from(other.as_bytes());
        let signing = ring::sign::any_eddsa_type(&other).unwrap();
        let stolen = CertifiedKey::new(vec![certificate], signing);
        let shown = Arc::new(SingleCertAndKey::from(stolen));
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        let acceptor = Acceptor {
            config: Arc::new(config),
            shown,
        };
        let (client, server) = sockets();
        let server = std::thread::spawn(move || acceptor.accept(server).is_ok());
        let refused = connect(client, public(1)).err();
        assert!(matches!(refused, Some(TlsError::Failed(_))), "{refused:?}");
        server.join().unwrap();
    }

    #[test]
    fn who_speaks_something_else_is_told_apart_from_who_leaves() {
        let answers: [&[u8]; 3] = [b"ERR bad_request what?\n", b"HTTP/1.1 400 Bad\r\n\r\n", b""];
        let got = answers.map(|answer| {
            let (client, mut server) = sockets();
            let far = std::thread::spawn(move || {
                let _ = server.peek(&mut [0]).unwrap();
                server.write_all(answer).unwrap();
                server.finish_writing();
                while server.read(&mut [0; 1024]).is_ok_and(|got| got > 0) {}
            });
            let error = connect(client, public(1)).err().unwrap();
            far.join().unwrap();
            error.to_string()
        });
        let not_tls = "it does not speak TLS";
        let closed = "it closed the connection during the TLS handshake";
        assert_eq!(got, [not_tls, not_tls, closed]);
    }

    #[test]
    fn deadlines_and_stops_hold_during_the_handshake_and_after_it() {
        let acceptor = Acceptor::new(&key(1)).unwrap();
        let (mut half, mut server) = sockets();
        half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
        server.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
        let late = acceptor.accept(server).err();
        assert!(
            matches!(&late, Some(TlsError::Io(error)) if error.kind() == io::ErrorKind::TimedOut)
        );

        let (client, server) = shake_hands(1, 1);
        let (_client, mut server) = (client.unwrap(), server.unwrap());
        server.set_patience(Duration::from_millis(30));
        let late = server.read(&mut [0; 4]).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        server.set_patience(PATIENCE * 100);
        let copy = server.stream().clone();
        let reader = std::thread::spawn(move || server.read(&mut [0; 4]).map_err(|e| e.kind()));
        copy.close();
        assert!(matches!(
            reader.join().unwrap(),
            Err(io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof)
        ));
    }
}
