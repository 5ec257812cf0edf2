//! Tokens: random secrets of 256 bits. The tokens file lists the hash and the roles of each.
//!
//! An unsalted single SHA-256 is enough, because a secret of 256 random bits cannot be guessed.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Role, Roles};

/// Prefix of every token, so that scanners can find leaked secrets.
const PREFIX: &str = "orderlog_";

/// Random bytes of a token: 256 bits.
const SECRET: usize = 32;

type Hash = [u8; 32];

/// The hashes and roles that a tokens file lists.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<(Hash, Roles)>);

impl Tokens {
    /// Parses a tokens file. Each line holds the hash of a token in hex and its roles, separated by
    /// commas. A `#` begins a comment.
    ///
    /// # Errors
    /// The number of the first invalid line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(hash) = words.next() else { continue };
            let token = match (words.next(), words.next()) {
                (Some(roles), None) => hash_of_hex(hash).zip(roles_of(roles)),
                _ => None,
            };
            // The error does not quote the line, which may hold a token by mistake.
            tokens.push(token.ok_or_else(|| {
                format!(
                    "line {}: must be a hash and roles, as `orderlog token new` writes them",
                    number + 1
                )
            })?);
        }
        Ok(Self(tokens))
    }

    /// Returns the roles of a token. The search compares all hashes in constant time, so that its
    /// duration reveals nothing about the tokens.
    pub(super) fn roles(&self, token: &str) -> Option<Roles> {
        let hash = hash(token);
        let mut found = None;
        for (known, roles) in &self.0 {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(*roles);
            }
        }
        found
    }
}

/// Creates a token, appends its hash and roles to the file and returns the token.
///
/// # Errors
/// The system returns no random bytes, the file is not readable or writable, or it is no tokens
/// file.
pub(crate) fn add(file: &Path, roles: &[Role]) -> io::Result<String> {
    let mut secret = [0; SECRET];
    getrandom::fill(&mut secret).map_err(io::Error::from)?;
    let token = format!("{PREFIX}{}", hex(&secret));
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let line = format!("{} {}\n", hex(&hash(&token)), names.join(","));
    // Mode 0600: a user who can add a hash gains access to the server.
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(file)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // The file must parse as a tokens file: the user may have named another file by mistake.
    Tokens::parse(&text).map_err(io::Error::other)?;
    let break_line = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    // One write, because a server may read the file at the same time.
    file.write_all(format!("{break_line}{line}").as_bytes())?;
    file.sync_all()?;
    Ok(token)
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash_of_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn roles_of(text: &str) -> Option<Roles> {
    let roles: Option<Vec<_>> = text.split(',').map(Role::parse).collect();
    roles.map(|roles| Roles::of(&roles))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_new_token_is_in_the_file_by_its_hash_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let first = add(&file, &[Role::Command, Role::Query]).unwrap();
        // An editor may add comments and remove the last line break.
        let text = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            format!("# ours\n\n{}  # of the shop", text.trim_end()),
        )
        .unwrap();
        let second = add(&file, &[Role::Operate]).unwrap();
        assert_ne!(first, second);

        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first[PREFIX.len()..]), "{text}");
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(
            tokens.roles(&first),
            Some(Roles::of(&[Role::Command, Role::Query]))
        );
        assert_eq!(tokens.roles(&second), Some(Roles::of(&[Role::Operate])));
        for wrong in [
            "",
            "orderlog_",
            &first[1..],
            &format!("{first} "),
            &first.to_uppercase(),
        ] {
            assert_eq!(tokens.roles(wrong), None);
        }
        // The hash is not a token.
        let hash = text.lines().last().unwrap().split(' ').next().unwrap();
        assert_eq!(tokens.roles(hash), None);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        add(&file, &[Role::Query]).unwrap_err();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "-----BEGIN CERTIFICATE-----\n");
    }

    #[test]
    fn a_new_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        add(&file, &[Role::Query]).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_repeated() {
        let hash = "ab".repeat(32);
        for wrong in [
            hash.clone(),
            format!("{hash} command,"),
            format!("{hash} command query"),
            format!("{hash} admin"),
            format!("{hash}0 query"),
            format!("{} query", "g0".repeat(32)),
            format!("{} query", "+1".repeat(32)),
            format!("{} query", "é".repeat(32)),
            "orderlog_secret query".to_owned(),
        ] {
            let error = Tokens::parse(&format!("# a\n{hash} query\n{wrong}\n")).unwrap_err();
            assert!(error.starts_with("line 3: must be"), "{wrong}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Tokens::parse("").unwrap().roles("").is_none());
    }
}
