//! rustls as millipede uses it: TLS 1.3 alone, raw public keys at both ends, nothing that outlives a connection.
//!
//! No record layer, cryptography or negotiation of our own. Whoever is not let in, or speaks another protocol, fails in
//! the handshake, before anything of a session is seen.

use super::private::PrivateKey;
use super::public::PublicKey;
use super::roll::Roll;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group, sign::any_eddsa_type};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::{CertifiedKey, public_key_to_spki};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What both ends say that they speak. Versions of the protocol are told apart by its hello.
pub(crate) const ALPN: &[u8] = b"millipede";

/// Nobody looks at a name: it is keys that count.
const NAME: &str = "millipede";

/// This end's key and whoever it lets in: all that a connection's handshake needs.
pub struct Trust {
    own: PublicKey,
    roll: Arc<Roll>,
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

/// Who was met in one handshake.
#[derive(Clone, Default)]
pub(crate) struct Met(Arc<OnceLock<PublicKey>>);

impl Trust {
    /// With this key, for whoever the list has.
    ///
    /// # Errors
    /// A sentence: the library takes the key for none.
    pub fn new(key: &PrivateKey, roll: Roll) -> Result<Self, String> {
        Self::with(key, roll, provider())
    }

    /// The same, with keys that are renewed after so many records.
    #[cfg(test)]
    pub(crate) fn renewing(key: &PrivateKey, roll: Roll, records: u64) -> Result<Self, String> {
        let mut provider = provider();
        for suite in &mut provider.cipher_suites {
            let Some(tls13) = suite.tls13() else { continue };
            let (hkdf_provider, aead_alg, quic) = (tls13.hkdf_provider, tls13.aead_alg, tls13.quic);
            let common = rustls::CipherSuiteCommon { confidentiality_limit: records, ..tls13.common };
            let renewing = rustls::Tls13CipherSuite { common, hkdf_provider, aead_alg, quic };
            *suite = rustls::SupportedCipherSuite::Tls13(Box::leak(Box::new(renewing)));
        }
        Self::with(key, roll, provider)
    }

    fn with(key: &PrivateKey, roll: Roll, provider: CryptoProvider) -> Result<Self, String> {
        let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(key.pkcs8())).map_err(|e| e.to_string())?;
        let spki = public_key_to_spki(&alg_id::ED25519, key.public().bytes());
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki.as_ref().to_vec())], signing);
        let (certified, provider) = (Arc::new(certified), Arc::new(provider));
        Ok(Trust { own: key.public(), roll: Arc::new(roll), certified, provider })
    }

    /// The public half of this end's key.
    pub(crate) fn own(&self) -> PublicKey {
        self.own
    }

    /// Who is let in.
    pub(crate) fn roll(&self) -> &Roll {
        &self.roll
    }

    /// What a peer's key is called: as the list says, else its fingerprint.
    pub(crate) fn name(&self, key: &PublicKey) -> String {
        self.roll.allows(key).map_or_else(|| key.to_string(), |name| name.to_string())
    }

    /// A handshake for the side that dials, and who will have been met in it.
    ///
    /// # Errors
    /// The library's: its settings do not fit each other.
    pub(crate) fn dial(&self) -> Result<(UnbufferedClientConnection, Met), Error> {
        let met = Met::default();
        let check = self.check(met.clone());
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(check)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.certified.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(NAME).map_err(|e| Error::General(e.to_string()))?;
        Ok((UnbufferedClientConnection::new(Arc::new(config), name)?, met))
    }

    /// A handshake for the side that listens, and who will have been met in it.
    ///
    /// # Errors
    /// The library's: its settings do not fit each other.
    pub(crate) fn accept(&self) -> Result<(UnbufferedServerConnection, Met), Error> {
        let met = Met::default();
        Ok((UnbufferedServerConnection::new(Arc::new(self.listening(met.clone())?))?, met))
    }

    fn check(&self, met: Met) -> Arc<Check> {
        Arc::new(Check { roll: self.roll.clone(), met, provider: self.provider.clone() })
    }

    /// The settings of [`Self::accept`]; tests change them, to play a peer that means ill.
    pub(crate) fn listening(&self, met: Met) -> Result<ServerConfig, Error> {
        let check = self.check(met);
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(check)
            .with_cert_resolver(Arc::new(Own(self.certified.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Met {
    /// The key that the peer says is its own: proved once the handshake is over, a mere claim before.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        self.0.get().copied()
    }
}

/// The ciphers and key exchanges of the library, ours first: fast where the processor helps, and safe against whoever
/// records today and has a quantum computer later.
fn provider() -> CryptoProvider {
    let aes = [cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384];
    let chacha = [cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    let cipher_suites = if has_aes() { [&aes[..], &chacha].concat() } else { [&chacha[..], &aes].concat() };
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    CryptoProvider { cipher_suites, kx_groups, ..default_provider() }
}

/// Whether the processor has AES; without it ChaCha20 is several times faster.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// This end's key for whoever says that it speaks our protocol, which is looked at before any work with keys.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let ours = hello.alpn()?.any(|protocol| protocol == ALPN);
        ours.then(|| self.0.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

/// Looks the peer's key up, in one handshake.
struct Check {
    roll: Arc<Roll>,
    met: Met,
    provider: Arc<CryptoProvider>,
}

impl Check {
    fn admit(&self, peer: &CertificateDer<'_>) -> Result<(), Error> {
        let key = raw_key(peer).ok_or(CertificateError::BadEncoding)?;
        // one handshake shows one key
        let _ = self.met.0.set(key);
        match self.roll.allows(&key) {
            Some(_) => Ok(()),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(CertificateError::BadSignature.into());
        }
        let spki = SubjectPublicKeyInfoDer::from(peer.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signed, algorithms)
    }
}

/// The key in what a raw public key's certificate is: a SubjectPublicKeyInfo, which for Ed25519 always has the same
/// head.
fn raw_key(peer: &CertificateDer<'_>) -> Option<PublicKey> {
    let bytes: [u8; 32] = *peer.as_ref().last_chunk()?;
    let same = public_key_to_spki(&alg_id::ED25519, bytes).as_ref() == peer.as_ref();
    same.then(|| PublicKey::new(bytes))
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

/// What the library asks both kinds of verifier alike: Ed25519 alone, as raw keys, in TLS 1.3.
macro_rules! checks_ed25519 {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            peer: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.verify(message, peer, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        peer: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.admit(peer).map(|()| ServerCertVerified::assertion())
    }

    checks_ed25519!();
}

impl ClientCertVerifier for Check {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        peer: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.admit(peer).map(|()| ClientCertVerified::assertion())
    }

    checks_ed25519!();
}
