//! Log streams: one JSON object per line, until the server or the caller ends it.

use std::marker::PhantomData;

use reqwest::Response;
use serde::de::DeserializeOwned;

use super::error::{Call, ClientError};
use crate::json;

/// No event is longer; a server that sends more is not one of ours.
const MAX_LINE: usize = 1 << 20;

/// Events as they happen. Dropping it ends the stream.
pub struct LogStream<T> {
    call: Call,
    response: Response,
    buffer: Vec<u8>,
    event: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> LogStream<T> {
    pub(super) fn new((call, response): (Call, Response)) -> Self {
        Self { call, response, buffer: Vec::new(), event: PhantomData }
    }

    /// The next event; `None` when the server ended the stream.
    ///
    /// # Errors
    /// If the connection breaks or a line is not an event.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        let Some(line) = self.next_line().await? else { return Ok(None) };
        match serde_json::from_str(&line) {
            Ok(event) => Ok(Some(event)),
            Err(error) => Err(self.unreadable(json::mistake(&error))),
        }
    }

    /// The next event as the server wrote it, without the newline.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn next_line(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if !text.is_empty() {
                    return Ok(Some(text));
                }
                continue;
            }
            if self.buffer.len() > MAX_LINE {
                return Err(self.unreadable(format!("a line is longer than {MAX_LINE} bytes")));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(ClientError::transport(self.call.clone(), &error, None)),
            }
        }
    }

    fn unreadable(&self, cause: String) -> ClientError {
        ClientError::Answer { call: self.call.clone(), cause }
    }
}
