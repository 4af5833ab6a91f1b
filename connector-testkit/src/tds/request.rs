//! What a client sends: PRELOGIN, LOGIN7, batches and remote procedure calls.

use std::fmt;

use super::types::Cell;

/// Ends the options of a PRELOGIN.
pub(super) const TERMINATOR: u8 = 0xFF;

/// A position in a message; every read is checked, since a client may be wrong.
struct Reader<'a> {
    bytes: &'a [u8],
}

type Read<T> = Result<T, String>;

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| format!("{count} bytes are missing at the end of the message"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "a length".to_owned())
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Read<usize> {
        usize::try_from(self.u32()?).map_err(|error| error.to_string())
    }

    /// `PLP_BODY`: [MS-TDS] 2.2.5.2.3; `None` is null.
    fn pieces(&mut self) -> Read<Option<Vec<u8>>> {
        if self.u64()? == u64::MAX {
            return Ok(None);
        }
        let mut whole = Vec::new();
        loop {
            match self.length()? {
                0 => return Ok(Some(whole)),
                length => whole.extend(self.take(length)?),
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let units: Vec<_> = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .collect();
    String::from_utf16_lossy(&units)
}

/// The options of a client's PRELOGIN, each with its data: [MS-TDS] 2.2.6.5.
pub(super) fn prelogin(message: &[u8]) -> Vec<(u8, &[u8])> {
    let mut options = Vec::new();
    let mut rest = message;
    while let Some((option, others)) = rest.split_first_chunk::<5>() {
        let [token, place @ .., _, _] = *option;
        if token == TERMINATOR {
            break;
        }
        let place = usize::from(u16::from_be_bytes(place));
        let length = usize::from(u16::from_be_bytes([option[3], option[4]]));
        if let Some(data) = message.get(place..place + length) {
            options.push((token, data));
        }
        rest = others;
    }
    options
}

/// What a login said: [MS-TDS] 2.2.6.4 LOGIN7.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is named as a connection string names it")]
pub struct Login {
    pub user: String,
    /// Readable again: LOGIN7 only obfuscates it.
    pub password: String,
    pub database: String,
    pub app_name: String,
    pub host_name: String,
    /// The server's name as the client was told it.
    pub server_name: String,
    /// What the client asks for.
    pub packet_size: u32,
    /// `ApplicationIntent=ReadOnly`.
    pub read_only: bool,
    /// Whether Windows' or Kerberos' token came instead of a password.
    pub integrated: bool,
    /// The access token that came instead of a password.
    pub token: Option<String>,
}

/// Without password and token.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("app_name", &self.app_name)
            .field("host_name", &self.host_name)
            .field("server_name", &self.server_name)
            .field("packet_size", &self.packet_size)
            .field("read_only", &self.read_only)
            .field("integrated", &self.integrated)
            .finish_non_exhaustive()
    }
}

pub(super) fn login(message: &[u8]) -> Read<Login> {
    let at = |offset: usize, count: usize| {
        let end = offset.checked_add(count);
        end.and_then(|end| message.get(offset..end))
            .ok_or_else(|| format!("LOGIN7 ends before {offset}+{count}"))
    };
    let u16_at = |offset| {
        let bytes = at(offset, 2)?;
        Ok::<_, String>(usize::from(bytes[0]) + 256 * usize::from(bytes[1]))
    };
    // Offsets and lengths of the variable part begin at 36, four bytes each.
    let variable = |index: usize| {
        let place = 36 + 4 * index;
        at(u16_at(place)?, 2 * u16_at(place + 2)?)
    };
    let password: Vec<_> = variable(2)?
        .iter()
        .map(|byte| (byte ^ 0xA5).rotate_left(4))
        .collect();
    let token = if at(27, 1)?[0] & 0x10 == 0 {
        None
    } else {
        let offset = at(u16_at(36 + 4 * 5)?, 4)?;
        let offset = Reader { bytes: offset }.length()?;
        federated_token(message.get(offset..).unwrap_or_default())?
    };
    Ok(Login {
        user: text(variable(1)?),
        password: text(&password),
        database: text(variable(8)?),
        app_name: text(variable(3)?),
        host_name: text(variable(0)?),
        server_name: text(variable(4)?),
        packet_size: Reader { bytes: at(8, 4)? }.u32()?,
        read_only: at(26, 1)?[0] & 0x20 != 0,
        integrated: at(25, 1)?[0] & 0x80 != 0,
        token,
    })
}

/// FEDAUTH among the features, with the library "security token".
fn federated_token(features: &[u8]) -> Read<Option<String>> {
    let mut reader = Reader { bytes: features };
    loop {
        let id = reader.u8()?;
        if id == 0xFF {
            return Ok(None);
        }
        let length = reader.length()?;
        let data = reader.take(length)?;
        if id == 0x02 {
            let mut data = Reader { bytes: data };
            data.u8()?;
            let length = data.length()?;
            return Ok(Some(text(data.take(length)?)));
        }
    }
}

/// A statement that a client sent.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The statement, as it was written.
    pub text: String,
    /// The values that came with it, by name (`@P1`), where it came as `sp_executesql`.
    pub parameters: Vec<(String, Cell)>,
    /// The procedure, where it came as a remote call.
    pub procedure: Option<String>,
    /// Which connection it came over, counted from 1.
    pub connection: usize,
    /// The descriptor of the transaction that it came in; zeros without one.
    pub transaction: [u8; 8],
}

/// [MS-TDS] 2.2.6.7 `SQLBatch`.
pub(super) fn batch(message: &[u8], connection: usize) -> Read<Request> {
    let mut reader = Reader { bytes: message };
    let transaction = transaction(&mut reader)?;
    Ok(Request {
        text: text(reader.bytes),
        parameters: Vec::new(),
        procedure: None,
        connection,
        transaction,
    })
}

/// [MS-TDS] 2.2.6.6 RPC Request.
pub(super) fn call(message: &[u8], connection: usize) -> Read<Request> {
    let mut reader = Reader { bytes: message };
    let transaction = transaction(&mut reader)?;
    let procedure = match reader.u16()? {
        u16::MAX => match reader.u16()? {
            10 => "sp_executesql".to_owned(),
            id => format!("procedure {id}"),
        },
        length => text(reader.take(2 * usize::from(length))?),
    };
    // The option flags.
    reader.u16()?;
    let mut parameters = Vec::new();
    while !reader.bytes.is_empty() {
        let length = reader.u8()?;
        let name = text(reader.take(2 * usize::from(length))?);
        // By reference, or default.
        reader.u8()?;
        parameters.push((name, parameter(&mut reader)?));
    }
    if procedure == "sp_executesql"
        && let Some((_, Cell::Text(statement))) = parameters.first()
    {
        let text = statement.clone();
        // The statement, and the declaration of the rest.
        parameters.drain(..parameters.len().min(2));
        return Ok(Request {
            text,
            parameters,
            procedure: Some(procedure),
            connection,
            transaction,
        });
    }
    Ok(Request {
        text: format!("EXEC {procedure}"),
        parameters,
        procedure: Some(procedure),
        connection,
        transaction,
    })
}

/// `ALL_HEADERS`, of which one names the transaction: [MS-TDS] 2.2.5.3.
fn transaction(reader: &mut Reader<'_>) -> Read<[u8; 8]> {
    const TRANSACTION: u16 = 2;
    let length = reader.length()?;
    let mut headers = Reader {
        bytes: reader.take(length.saturating_sub(4))?,
    };
    let mut found = [0; 8];
    while !headers.bytes.is_empty() {
        let length = headers.length()?;
        let mut header = Reader {
            bytes: headers.take(length.saturating_sub(4))?,
        };
        if header.u16()? == TRANSACTION {
            found = header.array()?;
        }
    }
    Ok(found)
}

/// A value with its `TYPE_INFO`. Types without a plain meaning here come as bytes.
fn parameter(reader: &mut Reader<'_>) -> Read<Cell> {
    let ty = reader.u8()?;
    match ty {
        // A length, or the digits of a second.
        0x24 | 0x26 | 0x29..=0x2B | 0x68 | 0x6D..=0x6F => {
            reader.u8()?;
        }
        // A length, precision and scale.
        0x6A | 0x6C => {
            reader.take(3)?;
        }
        0x28 => {}
        // Lengths of two bytes, the texts with a collation.
        0xA5 | 0xAD | 0xA7 | 0xAF | 0xE7 | 0xEF => {
            let length = reader.u16()?;
            let is_text = !matches!(ty, 0xA5 | 0xAD);
            if is_text {
                reader.take(5)?;
            }
            let value = if length == u16::MAX {
                reader.pieces()?
            } else {
                match reader.u16()? {
                    u16::MAX => None,
                    length => Some(reader.take(length.into())?.to_vec()),
                }
            };
            return Ok(match value {
                None => Cell::Null,
                Some(value) if matches!(ty, 0xE7 | 0xEF) => Cell::Text(text(&value)),
                Some(value) => Cell::Bytes(value),
            });
        }
        _ => return Err(format!("a parameter of type {ty:#04x} is not read here")),
    }
    let length = reader.u8()?;
    let value = reader.take(length.into())?;
    Ok(match (ty, value) {
        (_, []) => Cell::Null,
        (0x68, [value]) => Cell::Bool(*value != 0),
        (0x26, [value]) => Cell::Int((*value).into()),
        (0x26, value) => Cell::Int(signed(value)),
        (0x6D, value) => match (<[u8; 4]>::try_from(value), <[u8; 8]>::try_from(value)) {
            (Ok(value), _) => Cell::Real(f32::from_le_bytes(value)),
            (_, Ok(value)) => Cell::Float(f64::from_le_bytes(value)),
            _ => Cell::Bytes(value.to_vec()),
        },
        (_, value) => Cell::Bytes(value.to_vec()),
    })
}

/// A little-endian number of at most eight bytes, with its sign.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xFF } else { 0 }; 8];
    for (to, from) in whole.iter_mut().zip(bytes) {
        *to = *from;
    }
    i64::from_le_bytes(whole)
}
