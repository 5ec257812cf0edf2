//! Reads the lines of a file and parses each into a command.

use std::io::{self, BufRead, Read as _};

use contract::orders::v1::ExecuteCommandsRequest;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use sha2::{Digest as _, Sha256};

use crate::cli::text::printable;

/// Limit of a line in bytes, 4 MiB: the server accepts no longer command.
const MOST_BYTES: u64 = 4 << 20;

/// The byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The byte order marks of UTF-16, which no UTF-8 begins with.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// A line of the file that is not blank.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// The number of the line from 1 on, which counts blank lines too.
    pub number: u64,
    /// Bytes from the beginning of the file to the end of the line.
    pub end: u64,
    /// The command with a request id, or the reason why the line is no command.
    pub command: Result<ExecuteCommandsRequest, String>,
}

/// An iterator over the lines of a file that are not blank.
pub struct Lines<R> {
    input: R,
    descriptor: MessageDescriptor,
    number: u64,
    end: u64,
}

impl<R: BufRead> Lines<R> {
    /// Creates the iterator over `input`. `descriptor` describes the message of a line.
    pub fn new(input: R, descriptor: MessageDescriptor) -> Self {
        Self {
            input,
            descriptor,
            number: 0,
            end: 0,
        }
    }

    /// Reads the next line that is not blank, or `None` at the end.
    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = (&mut self.input)
                .take(MOST_BYTES)
                .read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.end += read as u64;
            let too_long = read as u64 == MOST_BYTES && !text.ends_with(b"\n");
            if too_long {
                self.end += self.input.skip_until(b'\n')? as u64;
            }
            let mut text = text.as_slice();
            if self.number == 1 {
                // Some editors begin a file with a byte order mark.
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            let is_utf16 = self.number == 1 && UTF_16_MARKS.iter().any(|it| text.starts_with(it));
            let text = text.trim_ascii();
            if text.is_empty() && !too_long {
                continue;
            }
            let command = if too_long {
                Err(format!("it is longer than {MOST_BYTES} bytes"))
            } else if is_utf16 {
                Err("the file is UTF-16: save it as UTF-8".to_owned())
            } else {
                self.command(text)
            };
            return Ok(Some(Line {
                number: self.number,
                end: self.end,
                command,
            }));
        }
    }

    fn command(&self, text: &[u8]) -> Result<ExecuteCommandsRequest, String> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut json)
            .and_then(|message| json.end().map(|()| message))
            .map_err(|error| reason(&error))?;
        let mut request: ExecuteCommandsRequest =
            message.transcode_to().map_err(|error| error.to_string())?;
        let command = request.command.as_mut().ok_or("it names no command")?;
        let request_id = command.request_id_mut();
        if request_id.is_empty() {
            *request_id = made_id(self.number, text);
        }
        Ok(request)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Returns the reason why a line is no command, with its column. Omits the line number of the
/// parser, which is always 1.
fn reason(error: &serde_json::Error) -> String {
    // The error quotes the line, which may hold control characters.
    let text = printable(&error.to_string());
    match text.rsplit_once(" at line ") {
        Some((text, _)) => format!("{text} (column {})", error.column()),
        None => text,
    }
}

/// Makes a request id for a line without one, from its number and text. Another import of the file
/// makes the same id, and lines with equal text get different ids.
///
/// The id begins with the number, because the log appends ids in ascending order fastest.
fn made_id(number: u64, text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    format!("line-{number:012}-{}", hex::encode(&digest[..16]))
}
