//! The tokens of a response: [MS-TDS] 2.2.7 Packet Data Token Stream Definition.

use super::{
    collation::Collation,
    types::{Cell, SqlType, utf16, write_short_text, write_text},
};

/// Version 17.0.1000, which the server claims to be.
pub(super) const VERSION: [u8; 4] = [17, 0, 0x03, 0xE8];
const PROGRAM: &str = "Microsoft SQL Server\0\0";
/// TDS 7.4, in the byte order of LOGINACK.
const TDS_74: [u8; 4] = [0x74, 0, 0, 4];

/// Bits of DONE's status: [MS-TDS] 2.2.7.6 DONE.
pub(super) mod status {
    pub(crate) const FINAL: u16 = 0;
    pub(crate) const MORE: u16 = 0x01;
    pub(crate) const ERROR: u16 = 0x02;
    pub(crate) const COUNT: u16 = 0x10;
    pub(crate) const ATTENTION: u16 = 0x20;
}

/// A column of a result: [MS-TDS] 2.2.7.4 COLMETADATA.
#[derive(Debug, Clone)]
pub struct Column {
    pub(super) name: String,
    pub(super) ty: SqlType,
    pub(super) nullable: bool,
    computed: bool,
}

impl Column {
    /// Names a column that may be null.
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Self {
            name: name.into(),
            ty,
            nullable: true,
            computed: false,
        }
    }

    /// Makes it a column that is never null: numbers, `bit` and `datetime` are then sent without a
    /// length, as types of their own.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Makes it the column of an expression rather than of a table.
    #[must_use]
    pub fn computed(mut self) -> Self {
        self.computed = true;
        self
    }

    fn flags(&self) -> u16 {
        // fNullable; fComputed, or usUpdateable "unknown".
        u16::from(self.nullable) | if self.computed { 0x20 } else { 0x08 }
    }
}

/// An error or a message of the server: [MS-TDS] 2.2.7.10 ERROR, 2.2.7.13 INFO.
#[derive(Debug, Clone)]
pub struct ServerError {
    number: u32,
    class: u8,
    state: u8,
    message: String,
    line: u32,
    /// The server's own if absent.
    server: Option<String>,
}

impl ServerError {
    /// Makes an error by number, class (severity; below 11 is no error) and state.
    pub fn new(number: u32, class: u8, state: u8, message: impl Into<String>) -> Self {
        Self {
            number,
            class,
            state,
            message: message.into(),
            line: 1,
            server: None,
        }
    }

    /// Sets the line of the batch that it names; 1 by default.
    #[must_use]
    pub fn line(mut self, line: u32) -> Self {
        self.line = line;
        self
    }

    /// Sets the server's name that it carries; the answering server's by default.
    #[must_use]
    pub fn server(mut self, name: impl Into<String>) -> Self {
        self.server = Some(name.into());
        self
    }
}

pub(super) fn columns(columns: &[Column], out: &mut Vec<u8>) {
    out.push(0x81);
    let count = u16::try_from(columns.len()).unwrap_or(u16::MAX);
    out.extend(count.to_le_bytes());
    for column in columns {
        // The user type.
        out.extend(0_u32.to_le_bytes());
        out.extend(column.flags().to_le_bytes());
        column.ty.write_info(column.nullable, out);
        if column.ty.has_table_name() {
            out.push(1);
            write_text("dbo.t", out);
        }
        write_short_text(&column.name, out);
    }
}

/// [MS-TDS] 2.2.7.20 ROW.
pub(super) fn row(columns: &[Column], cells: &[Cell], out: &mut Vec<u8>) {
    assert_width(columns, cells);
    out.push(0xD1);
    for (column, cell) in columns.iter().zip(cells) {
        column.ty.write_value(column.nullable, cell, out);
    }
}

/// [MS-TDS] 2.2.7.15 NBCROW: a bit for each null, and no bytes.
pub(super) fn compressed_row(columns: &[Column], cells: &[Cell], out: &mut Vec<u8>) {
    assert_width(columns, cells);
    out.push(0xD2);
    for eight in cells.chunks(8) {
        let bits = eight.iter().enumerate();
        out.push(bits.fold(0, |byte, (bit, cell)| {
            byte | (u8::from(*cell == Cell::Null) << bit)
        }));
    }
    for (column, cell) in columns.iter().zip(cells) {
        if *cell != Cell::Null {
            column.ty.write_value(column.nullable, cell, out);
        }
    }
}

fn assert_width(columns: &[Column], cells: &[Cell]) {
    let (have, want) = (cells.len(), columns.len());
    assert_eq!(
        have, want,
        "a scripted row has as many cells as the result has columns"
    );
}

/// What ends a statement, and within what.
#[derive(Debug, Clone, Copy)]
pub(super) enum Done {
    /// [MS-TDS] 2.2.7.6 DONE.
    Statement = 0xFD,
    /// [MS-TDS] 2.2.7.8 DONEPROC.
    Procedure = 0xFE,
    /// [MS-TDS] 2.2.7.7 DONEINPROC.
    InProcedure = 0xFF,
}

pub(super) fn done(kind: Done, status: u16, command: u16, rows: u64, out: &mut Vec<u8>) {
    out.push(kind as u8);
    out.extend(status.to_le_bytes());
    out.extend(command.to_le_bytes());
    out.extend(rows.to_le_bytes());
}

/// [MS-TDS] 2.2.7.18 RETURNSTATUS, of a procedure that went well.
pub(super) fn return_status(out: &mut Vec<u8>) {
    out.push(0x79);
    out.extend(0_i32.to_le_bytes());
}

pub(super) fn error(error: &ServerError, server: &str, out: &mut Vec<u8>) {
    message(0xAA, error, server, out);
}

pub(super) fn info(info: &ServerError, server: &str, out: &mut Vec<u8>) {
    message(0xAB, info, server, out);
}

fn message(token: u8, message: &ServerError, server: &str, out: &mut Vec<u8>) {
    let mut body = message.number.to_le_bytes().to_vec();
    body.extend([message.state, message.class]);
    write_text(&message.message, &mut body);
    write_short_text(message.server.as_deref().unwrap_or(server), &mut body);
    // The procedure.
    write_short_text("", &mut body);
    body.extend(message.line.to_le_bytes());
    counted(token, &body, out);
}

fn counted(token: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(token);
    out.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(body);
}

/// [MS-TDS] 2.2.7.9 ENVCHANGE, of a text.
fn changed(kind: u8, new: &str, old: &str, out: &mut Vec<u8>) {
    let mut body = vec![kind];
    write_short_text(new, &mut body);
    write_short_text(old, &mut body);
    counted(0xE3, &body, out);
}

/// Tells the descriptor of a transaction that began: ENVCHANGE of type 8, [MS-TDS] 2.2.7.9.
pub(super) fn begun(transaction: [u8; 8], out: &mut Vec<u8>) {
    let mut body = vec![8, 8];
    body.extend(transaction);
    body.push(0);
    counted(0xE3, &body, out);
}

/// What a login is answered with: the environment, [MS-TDS] 2.2.7.14 LOGINACK, and DONE.
pub(super) struct LoginAnswer<'a> {
    pub(super) server: &'a str,
    pub(super) database: &'a str,
    pub(super) packet_size: usize,
    /// Where else to connect: ENVCHANGE of type 20.
    pub(super) route: Option<&'a (String, u16)>,
    /// Whether a token was sent, which [MS-TDS] 2.2.7.11 FEATUREEXTACK acknowledges.
    pub(super) token: bool,
}

impl LoginAnswer<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self {
            server,
            database,
            packet_size,
            ..
        } = self;
        let say = |number, state, text: String| ServerError::new(number, 0, state, text);
        changed(1, database, database, out);
        info(
            &say(
                5701,
                2,
                format!("Changed database context to '{database}'."),
            ),
            server,
            out,
        );
        let mut collation = vec![7, 5];
        Collation::SQL_LATIN1_CP1.write(&mut collation);
        collation.push(0);
        counted(0xE3, &collation, out);
        changed(2, "us_english", "", out);
        info(
            &say(
                5703,
                1,
                "Changed language setting to us_english.".to_owned(),
            ),
            server,
            out,
        );
        let mut ack = vec![1];
        ack.extend(TDS_74);
        write_short_text(PROGRAM, &mut ack);
        ack.extend(VERSION);
        counted(0xAD, &ack, out);
        let packet_size = packet_size.to_string();
        changed(4, &packet_size, &packet_size, out);
        if self.token {
            // The feature FEDAUTH, without data, and the end.
            out.extend([0xAE, 0x02, 0, 0, 0, 0, 0xFF]);
        }
        if let Some((host, port)) = self.route {
            let mut route = vec![0];
            route.extend(port.to_le_bytes());
            let host = utf16(host);
            route.extend(
                u16::try_from(host.len() / 2)
                    .unwrap_or(u16::MAX)
                    .to_le_bytes(),
            );
            route.extend(host);
            let mut body = vec![20];
            body.extend(u16::try_from(route.len()).unwrap_or(u16::MAX).to_le_bytes());
            body.extend(route);
            body.extend([0, 0]);
            counted(0xE3, &body, out);
        }
        done(Done::Statement, status::FINAL, 0, 0, out);
    }
}
