//! Looks up a password in a file with the format of `.pgpass`.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use sqlx::postgres::PgConnectOptions;

/// Returns the password of the first line that matches host, port, database and user.
///
/// # Errors
/// The file cannot be read, is not for its owner only, or has no line that matches.
pub(super) fn password(file: &Path, options: &PgConnectOptions) -> io::Result<String> {
    let failed = |kind, what: &str| {
        let file = file.display();
        io::Error::new(kind, format!("passfile {file} {what}"))
    };
    let read = fs::metadata(file).and_then(|found| Ok((found, fs::read_to_string(file)?)));
    let (found, lines) = read.map_err(|error| failed(error.kind(), &error.to_string()))?;
    if found.permissions().mode() & 0o077 != 0 {
        let what = "must be for its owner only, as after chmod 600";
        return Err(failed(io::ErrorKind::PermissionDenied, what));
    }
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let wanted = [
        host.as_str(),
        &options.get_port().to_string(),
        options.get_database().unwrap_or(options.get_username()),
        options.get_username(),
    ];
    let found = lines.lines().find_map(|line| matching(line, wanted));
    found.ok_or_else(|| {
        let what = "has no line for this host, port, database and user";
        failed(io::ErrorKind::NotFound, what)
    })
}

/// Returns the password of a line whose first fields are `wanted` or `*`.
fn matching(line: &str, wanted: [&str; 4]) -> Option<String> {
    let mut characters = line.chars().peekable();
    for wanted in wanted {
        let field = field(&mut characters)?;
        if field != "*" && field != wanted {
            return None;
        }
    }
    // A line that begins with `#` is a comment: no host begins so.
    field(&mut characters)
}

/// Returns the characters up to a colon or the end, or `None` if the line has ended. A backslash
/// keeps the next character.
fn field(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    characters.peek()?;
    let mut field = String::new();
    while let Some(character) = characters.next() {
        match character {
            ':' => return Some(field),
            '\\' => field.extend(characters.next()),
            other => field.push(other),
        }
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn first_line_that_matches_has_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let lines = "# one:5432:db:ann:comment\n\none:5432:db:bob:of bob\n\
             one:*:db:ann:pass\\:wo\\\\rd\n*:*:*:ann:any\n";
        fs::write(path, lines).unwrap();
        let of = |url: &str| password(path, &url.parse().unwrap());
        assert_eq!(of("postgres://ann@one/db").unwrap(), "pass:wo\\rd");
        assert_eq!(of("postgres://bob@one/db").unwrap(), "of bob");
        assert_eq!(of("postgres://ann@two:7/db").unwrap(), "any");
        let missing = of("postgres://bob@two/db").unwrap_err().to_string();
        assert!(missing.contains("has no line for"), "{missing}");
        fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
        let refused = of("postgres://ann@one/db").unwrap_err().to_string();
        assert!(refused.contains("for its owner only"), "{refused}");
    }
}
