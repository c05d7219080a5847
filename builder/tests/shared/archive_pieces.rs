//! What an archive in a folder is made of: packed indexes, and releases signed with a key made for
//! the test.

use std::io::Write;
use std::sync::OnceLock;

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
    SubkeyParams,
};
use pgp::types::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub(crate) const KEY_MADE: u32 = 1_700_000_000;

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("a writer");
    writer.write_all(bytes).expect("packed");
    writer.finish().expect("packed")
}

/// The key that signs the archive.
pub(crate) fn key() -> &'static SignedSecretKey {
    static KEY: OnceLock<SignedSecretKey> = OnceLock::new();
    KEY.get_or_init(|| make_key(1, "the archive"))
}

/// The public half of that key, as a keyring has it.
pub(crate) fn keyring() -> String {
    let public = key().to_public_key().to_armored_string(ArmorOptions::default());
    public.expect("armoured")
}

/// The same key for the same `seed`, whoever asks.
pub(crate) fn make_key(seed: u64, name: &str) -> SignedSecretKey {
    generate(seed, name, Vec::new())
}

pub(crate) fn generate(seed: u64, name: &str, subkeys: Vec<SubkeyParams>) -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .created_at(Timestamp::from_secs(KEY_MADE))
        .subkeys(subkeys)
        .primary_user_id(format!("{name} <test@localhost>"));
    let parameters = parameters.build().expect("parameters");
    parameters.generate(ChaCha8Rng::seed_from_u64(seed)).expect("a key")
}

pub(crate) fn clear_sign(text: &str, key: &SignedSecretKey) -> String {
    let rng = ChaCha8Rng::seed_from_u64(9);
    let signed = CleartextSignedMessage::sign(rng, text, &key.primary_key, &"".into());
    signed.expect("signed").to_armored_string(ArmorOptions::default()).expect("armoured")
}
