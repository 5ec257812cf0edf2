//! Tokens: random secrets of 256 bits. The tokens file lists the hash, the roles and the name of
//! each.
//!
//! An unsalted single SHA-256 is enough, because a secret of 256 random bits cannot be guessed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Role, Roles};

/// Prefix of every token, so that scanners can find leaked secrets.
const PREFIX: &str = "orderlog_";

/// Random bytes of a token: 256 bits.
const SECRET_BYTES: usize = 32;

/// Maximum number of characters of a token's name.
const MAX_NAME_CHARS: usize = 64;

type Hash = [u8; 32];

/// The tokens that a tokens file lists.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<Listed>);

/// A line of a tokens file: a token, without its secret.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    hash: Hash,
    roles: Roles,
    name: Arc<str>,
}

impl Listed {
    /// Returns the name of the token, which the log and the events of its commands show.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of its roles, separated by commas.
    pub(crate) fn roles(&self) -> String {
        self.roles.names().join(",")
    }

    /// Parses a line: a hash in hex, roles separated by commas, and a name. A `#` begins a comment. A
    /// token without a name has the beginning of its hash as its name.
    ///
    /// Returns `None` for a line without a token.
    fn parse(line: &str) -> Option<Result<Self, ()>> {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let hash = words.next()?;
        let parsed = match (words.next(), words.next(), words.next()) {
            (Some(roles), name, None) => hash_of_hex(hash).zip(roles_of(roles)).zip(Some(name)),
            _ => None,
        };
        let named = parsed.and_then(|((hash, roles), name)| {
            let name = match name {
                Some(name) => Some(name.into()).filter(|_| is_name(name)),
                None => Some(default_name(&hash).into()),
            };
            name.map(|name| Self { hash, roles, name })
        });
        Some(named.ok_or(()))
    }
}

impl Tokens {
    /// Parses a tokens file.
    ///
    /// # Errors
    /// The number of the first invalid line, or of the second line with the same name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Listed> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            // The error does not quote the line, which may hold a token by mistake.
            let token = match Listed::parse(line) {
                None => continue,
                Some(token) => token.map_err(|()| {
                    format!(
                        "line {number}: must be a hash, roles and a name, as `orderlog token new` \
                         writes them"
                    )
                })?,
            };
            if tokens.iter().any(|other| other.name == token.name) {
                return Err(format!("line {number}: has the name of another token"));
            }
            tokens.push(token);
        }
        Ok(Self(tokens))
    }

    /// Returns the roles and the name of a token. The search compares all hashes in constant time,
    /// so that its duration reveals nothing about the tokens.
    pub(super) fn find(&self, token: &str) -> Option<(Roles, Arc<str>)> {
        let hash = hash(token);
        let mut found = None;
        for listed in &self.0 {
            if bool::from(listed.hash.ct_eq(&hash)) {
                found = Some((listed.roles, Arc::clone(&listed.name)));
            }
        }
        found
    }

    /// Returns the tokens in the order of the file.
    pub(crate) fn all(&self) -> &[Listed] {
        &self.0
    }
}

/// Creates a token, appends its hash, roles and name to the file and returns the token.
///
/// # Errors
/// The system returns no random bytes, the file is not readable or writable, it is no tokens file,
/// or it has a token of this name.
pub(crate) fn add(file: &Path, roles: &[Role], name: Option<&str>) -> io::Result<String> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(io::Error::from)?;
    let token = format!("{PREFIX}{}", hex::encode(secret));
    let hash = hash(&token);
    let name = name.map_or_else(|| default_name(&hash), str::to_owned);
    let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let line = format!("{} {} {name}\n", hex::encode(hash), roles.join(","));
    // Mode 0600: a user who can add a hash gains access to the server.
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(file)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let break_line = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let line = format!("{break_line}{line}");
    // The file must parse as a tokens file: the user may have named another file by mistake.
    Tokens::parse(&text).map_err(io::Error::other)?;
    Tokens::parse(&(text + &line)).map_err(io::Error::other)?;
    // One write, because a server may read the file at the same time.
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    Ok(token)
}

/// Removes the token of this name from the file. Returns false if there is none.
///
/// A new file replaces the old one, so that a server reads one of them as a whole. Other lines and
/// comments stay.
///
/// # Errors
/// The file is not readable or replaceable, or it is no tokens file.
pub(crate) fn remove(file: &Path, name: &str) -> io::Result<bool> {
    let text = fs::read_to_string(file)?;
    Tokens::parse(&text).map_err(io::Error::other)?;
    let is_other = |line: &&str| {
        let token = Listed::parse(line).and_then(Result::ok);
        token.is_none_or(|token| *token.name != *name)
    };
    let kept: String = text.split_inclusive('\n').filter(is_other).collect();
    if kept.len() == text.len() {
        return Ok(false);
    }
    let mut next = file.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    let mut options = OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o600).open(&next);
    let written = written.and_then(|mut written| {
        written.set_permissions(fs::metadata(file)?.permissions())?;
        written.write_all(kept.as_bytes())?;
        written.sync_all()?;
        fs::rename(&next, file)
    });
    if written.is_err() {
        // The error is the one to tell, whether or not this succeeds.
        let _ = fs::remove_file(&next);
    }
    written.map(|()| true)
}

/// Returns whether this can name a token.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

fn default_name(hash: &Hash) -> String {
    format!("token-{}", hex::encode(&hash[..4]))
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

fn hash_of_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

fn roles_of(text: &str) -> Option<Roles> {
    let roles: Option<Vec<_>> = text.split(',').map(Role::parse).collect();
    roles.map(|roles| Roles::of(&roles))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_token_is_in_the_file_by_its_hash_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let first = add(&file, &[Role::Command, Role::Query], Some("shop")).unwrap();
        // An editor may add comments and remove the last line break.
        let text = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            format!("# ours\n\n{}  # of the shop", text.trim_end()),
        )
        .unwrap();
        let second = add(&file, &[Role::Operate], None).unwrap();
        assert_ne!(first, second);

        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first[PREFIX.len()..]), "{text}");
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(
            tokens.find(&first),
            Some((Roles::of(&[Role::Command, Role::Query]), "shop".into()))
        );
        let (roles, name) = tokens.find(&second).unwrap();
        assert_eq!(roles, Roles::of(&[Role::Operate]));
        assert!(name.starts_with("token-") && name.len() == 14, "{name}");
        for wrong in [
            "",
            "orderlog_",
            &first[1..],
            &format!("{first} "),
            &first.to_uppercase(),
        ] {
            assert_eq!(tokens.find(wrong), None);
        }
        // The hash is not a token.
        let hash = text.lines().last().unwrap().split(' ').next().unwrap();
        assert_eq!(tokens.find(hash), None);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        add(&file, &[Role::Query], None).unwrap_err();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "-----BEGIN CERTIFICATE-----\n");
    }

    #[test]
    fn a_new_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        add(&file, &[Role::Query], None).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }

    #[test]
    fn a_removed_token_leaves_the_other_lines_and_the_mode_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        fs::write(&file, "# ours\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let first = add(&file, &[Role::Query], Some("first")).unwrap();
        let second = add(&file, &[Role::Query], Some("second")).unwrap();
        add(&file, &[Role::Query], Some("first")).unwrap_err();

        assert!(remove(&file, "first").unwrap());
        assert!(!remove(&file, "first").unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# ours\n"), "{text}");
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.find(&first), None);
        assert!(tokens.find(&second).is_some());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_repeated() {
        let hash = "ab".repeat(32);
        for wrong in [
            hash.clone(),
            format!("{hash} command,"),
            format!("{hash} command query more"),
            format!("{hash} query a/b"),
            format!("{hash} query {}", "n".repeat(65)),
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
        assert!(Tokens::parse("").unwrap().find("").is_none());
    }
}
