//! The file's lines, and the commands they are.

use std::io::{self, BufRead, Read as _};

use contract::orders::v1::ExecuteCommandsRequest;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use sha2::{Digest as _, Sha256};

use crate::cli::table::printable;

/// The longest line: no command that the server takes is longer.
const MOST_BYTES: u64 = 4 << 20;

/// A line of the file that is not blank.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Its number: 1, 2, 3, ..., blank ones counted.
    pub number: u64,
    /// How many bytes of the file end with it.
    pub end: u64,
    /// The command, with a request id, or why it is none.
    pub command: Result<ExecuteCommandsRequest, String>,
}

/// The lines of a file.
pub struct Lines<R> {
    input: R,
    descriptor: MessageDescriptor,
    number: u64,
    end: u64,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`, whose commands `descriptor` describes.
    pub fn new(input: R, descriptor: MessageDescriptor) -> Self {
        Self {
            input,
            descriptor,
            number: 0,
            end: 0,
        }
    }

    /// The next line, or `None` at the end.
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
            let text = text.trim_ascii();
            if text.is_empty() && !too_long {
                continue;
            }
            let command = if too_long {
                Err(format!("it is longer than {MOST_BYTES} bytes"))
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

/// What is wrong with a line, and where; that it is always line 1 of the text says nothing.
fn reason(error: &serde_json::Error) -> String {
    // It quotes the line.
    let text = printable(&error.to_string());
    match text.rsplit_once(" at line ") {
        Some((text, _)) => format!("{text} (column {})", error.column()),
        None => text,
    }
}

/// The request id of a line that has none: the same each time the file is imported, and another
/// for each line, also where two lines have the same text. It begins with the number because the
/// log appends ids in rising order fastest.
fn made_id(number: u64, text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    let half = digest
        .iter()
        .take(16)
        .fold(0, |half, byte| half << 8 | u128::from(*byte));
    format!("line-{number:012}-{half:032x}")
}
