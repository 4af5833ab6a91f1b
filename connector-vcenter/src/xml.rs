//! Reading XML from front to back: elements by their local names, whatever their prefix.

use std::borrow::Cow;

use connector_core::{Error, ErrorKind, Result, Retry};
use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_xml_entity,
    events::{BytesStart, Event},
};

/// A reader that stands within an element.
pub(crate) struct Xml<'t> {
    reader: Reader<&'t [u8]>,
    depth: usize,
}

/// An element's start.
pub(crate) struct Element<'t>(BytesStart<'t>);

enum Next<'t> {
    Open(Element<'t>),
    /// As it is written, but for references.
    Text(Cow<'t, str>),
    /// What a reference stands for.
    Referred(Cow<'static, str>),
    Close,
}

impl Element<'_> {
    /// Returns the name without its prefix.
    pub(crate) fn name(&self) -> &str {
        local(self.0.name().into_inner())
    }

    /// Returns the attribute `type` without a prefix: the type of the object that is referred to.
    pub(crate) fn object_type(&self) -> Result<Option<String>> {
        self.attribute(|name| name == "type")
    }

    /// Returns the attribute `type` with a prefix, which is that of XML Schema whatever it is
    /// called, without the prefix of its value.
    pub(crate) fn schema_type(&self) -> Result<Option<String>> {
        let found = self.attribute(|name| name.ends_with(":type"))?;
        Ok(found.map(|name| local(&name).to_owned()))
    }

    fn attribute(&self, is: impl Fn(&str) -> bool) -> Result<Option<String>> {
        for attribute in self.0.attributes() {
            let attribute = attribute.map_err(|error| broken().with_source(error))?;
            if is(attribute.key.into_inner()) {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                let value = value.map_err(|error| broken().with_source(error))?;
                return Ok(Some(value.into_owned()));
            }
        }
        Ok(None)
    }
}

fn local(name: &str) -> &str {
    match name.rfind(':') {
        Some(colon) => &name[colon + 1..],
        None => name,
    }
}

impl<'t> Xml<'t> {
    /// Starts at the front of a document.
    pub(crate) fn new(text: &'t str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, depth: 0 }
    }

    /// Enters what the body of a SOAP message holds.
    pub(crate) fn soap_body(&mut self) -> Result<Element<'t>> {
        for name in ["Envelope", "Body"] {
            let found = self.child()?;
            if found.is_none_or(|element| element.name() != name) {
                return Err(not_soap());
            }
        }
        self.child()?.ok_or_else(not_soap)
    }

    /// Enters the next element within this one; none where this one ends.
    pub(crate) fn child(&mut self) -> Result<Option<Element<'t>>> {
        loop {
            match self.next()? {
                Next::Open(element) => return Ok(Some(element)),
                Next::Text(_) | Next::Referred(_) => {}
                Next::Close => return Ok(None),
            }
        }
    }

    /// Returns the text of this element, and leaves it.
    pub(crate) fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        self.text_into(&mut text)?;
        Ok(text)
    }

    /// Adds the text of this element to another, and leaves it.
    pub(crate) fn text_into(&mut self, text: &mut String) -> Result<()> {
        self.leave(Some(text))
    }

    /// Leaves all that is still open, and so sees that the document is whole.
    pub(crate) fn end(&mut self) -> Result<()> {
        while self.depth > 0 {
            self.next()?;
        }
        Ok(())
    }

    /// Leaves this element, whatever it holds.
    pub(crate) fn skip(&mut self) -> Result<()> {
        self.leave(None)
    }

    /// Leaves this element, and adds the text right within it to another.
    fn leave(&mut self, mut text: Option<&mut String>) -> Result<()> {
        let depth = self.depth;
        while self.depth >= depth {
            let next = self.next()?;
            let Some(text) = text.as_mut().filter(|_| self.depth == depth) else {
                continue;
            };
            match next {
                Next::Text(part) => push_normalized(text, &part),
                Next::Referred(part) => text.push_str(&part),
                Next::Open(_) | Next::Close => {}
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Next<'t>> {
        loop {
            let event = self.reader.read_event();
            return Ok(match event.map_err(|error| self.failure(error))? {
                Event::Start(start) => {
                    self.depth += 1;
                    Next::Open(Element(start))
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Next::Close
                }
                Event::Text(text) => Next::Text(text.into_inner()),
                Event::CData(text) => Next::Text(text.into_inner()),
                Event::GeneralRef(name) => {
                    let character = name.resolve_char_ref();
                    let character = character.map_err(|error| self.failure(error))?;
                    match character {
                        Some(character) => Next::Referred(character.to_string().into()),
                        None => {
                            Next::Referred(resolve_xml_entity(&name).ok_or_else(broken)?.into())
                        }
                    }
                }
                Event::Eof if self.depth == 0 => Next::Close,
                Event::Eof => {
                    let message = "the reply ends within an element";
                    return Err(
                        Error::new(ErrorKind::Incomplete, message).with_retry(Retry::Restart)
                    );
                }
                // `expand_empty_elements` makes two of what is empty.
                Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::Empty(_) => continue,
            });
        }
    }

    fn failure(&self, error: quick_xml::Error) -> Error {
        broken()
            .with("byte", self.reader.buffer_position())
            .with_source(error)
    }
}

/// Adds text with line ends of one character (XML 1.0, 2.11).
fn push_normalized(text: &mut String, part: &str) {
    if part.contains('\r') {
        text.push_str(&part.replace("\r\n", "\n").replace('\r', "\n"));
    } else {
        text.push_str(part);
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Source, "the reply is no well-formed XML")
}

fn not_soap() -> Error {
    Error::new(
        ErrorKind::Source,
        "what answered is no vCenter: the reply is no SOAP message. Is the address right, or did a \
         proxy answer?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_unescaped_and_empty_elements_are_there() {
        let mut xml = Xml::new(
            "<?xml version='1.0'?><a:r xmlns:a='x'><b/><c>1 &lt;&#x41;&amp;\r\n<![CDATA[<]]></c></a:r>",
        );
        assert_eq!(xml.child().unwrap().unwrap().name(), "r");
        assert_eq!(xml.child().unwrap().unwrap().name(), "b");
        assert_eq!(xml.text().unwrap(), "");
        assert_eq!(xml.child().unwrap().unwrap().name(), "c");
        assert_eq!(xml.text().unwrap(), "1 <A&\n<");
        assert!(xml.child().unwrap().is_none());
    }

    #[test]
    fn the_two_attributes_called_type_are_told_apart() {
        for prefix in ["xsi", "XMLSchema-instance"] {
            let text = format!("<v {prefix}:type='vim25:Folder' type='X'/>");
            let element = Xml::new(&text).child().unwrap().unwrap();
            assert_eq!(element.object_type().unwrap().unwrap(), "X");
            assert_eq!(element.schema_type().unwrap().unwrap(), "Folder");
        }
    }

    #[test]
    fn what_ends_too_early_is_incomplete() {
        for text in ["<a><b>", "<a>x", "<a><b></b>"] {
            let mut xml = Xml::new(text);
            xml.child().unwrap().unwrap();
            assert_eq!(
                xml.skip().unwrap_err().kind(),
                ErrorKind::Incomplete,
                "{text}"
            );
        }
        for text in ["<a></b>", "<a>&nothing;</a>", "<a"] {
            let mut xml = Xml::new(text);
            let error = xml.child().and_then(|_| xml.skip()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source, "{text}");
        }
    }
}
