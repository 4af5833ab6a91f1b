//! Values that must never be printed, and ears that hear everything that is.

use std::{
    error::Error,
    fmt::{Debug, Write},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use connector_core::Secret;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// A secret and a row's value that no other text of the process holds.
///
/// ```
/// use connector_testkit::Canary;
///
/// let canary = Canary::new();
/// assert_eq!(canary.leak_in("nothing to see"), None);
/// let careless = format!("login with {} failed", canary.secret().expose());
/// assert_eq!(canary.leak_in(&careless), Some("the secret"));
/// ```
#[derive(Clone)]
pub struct Canary {
    secret: String,
    row: String,
}

impl Canary {
    /// Makes one that no other is equal to.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        Self {
            secret: format!("canary-secret-{number}-end"),
            row: format!("canary-row-{number}-end"),
        }
    }

    /// Returns what a connector is configured with as its secret.
    pub fn secret(&self) -> Secret {
        Secret::new(self.secret.clone())
    }

    /// Returns what a row holds.
    pub fn row(&self) -> &str {
        &self.row
    }

    /// Tells which of the two a text shows, as it is or as a list of its bytes.
    pub fn leak_in(&self, text: &str) -> Option<&'static str> {
        let shows = |value: &str| {
            let bytes = format!("{:?}", value.as_bytes());
            text.contains(value) || text.contains(bytes.trim_matches(['[', ']']))
        };
        if shows(&self.secret) {
            Some("the secret")
        } else if shows(&self.row) {
            Some("a row's value")
        } else {
            None
        }
    }
}

/// Does not print what must not be printed.
impl Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canary(***)")
    }
}

/// Returns all that an error can print: message, context and every cause.
pub fn printed(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error}\n{error:#}\n{error:?}\n{error:#?}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(text, "{error}\n{error:#}");
        cause = error.source();
    }
    text
}

type Heard = Mutex<String>;

static LISTENERS: Mutex<Vec<Weak<Heard>>> = Mutex::new(Vec::new());

/// Hears every span and event of the process, at every level and on every thread, while it lives.
#[derive(Debug)]
pub struct Listener(Arc<Heard>);

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// In words, when another subscriber is the process's global one already: the threads that a
    /// connector uses would not be heard.
    pub fn start() -> Result<Self, &'static str> {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| {
            let subscriber = Registry::default().with(Ears);
            tracing::subscriber::set_global_default(subscriber).is_ok()
        });
        if !installed {
            return Err("another global tracing subscriber is set in this test program; remove it");
        }
        let heard = Arc::new(Heard::default());
        listeners().push(Arc::downgrade(&heard));
        Ok(Self(heard))
    }

    /// Returns what was heard so far, a line for each span and event.
    pub fn heard(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn listeners() -> std::sync::MutexGuard<'static, Vec<Weak<Heard>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(line: &str) {
    listeners().retain(|listener| match listener.upgrade() {
        Some(heard) => {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push_str(line);
            heard.push('\n');
            true
        }
        None => false,
    });
}

struct Ears;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ears {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut line = Line::new(attributes.metadata());
        attributes.record(&mut line);
        tell(&line.0);
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        tell(&line.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::new(event.metadata());
        event.record(&mut line);
        tell(&line.0);
    }
}

struct Line(String);

impl Line {
    fn new(metadata: &tracing::Metadata<'_>) -> Self {
        Self(format!("{} {}", metadata.level(), metadata.name()))
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let _ = write!(self.0, " {}={}", field.name(), printed(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_text_and_bytes() {
        let canary = Canary::new();
        let row = canary.row();
        assert_eq!(canary.leak_in(&format!("{row:?}")), Some("a row's value"));
        let bytes = format!("{:?}", format!("({row})").as_bytes());
        assert_eq!(canary.leak_in(&bytes), Some("a row's value"));
        assert_eq!(canary.leak_in(&format!("{canary:?}")), None);
        assert_eq!(Canary::new().leak_in(row), None, "another's");
    }

    #[test]
    fn hears_spans_events_and_causes_on_every_thread() {
        let listener = Listener::start().unwrap();
        let cause = std::io::Error::other("deep-cause");
        let error =
            connector_core::Error::new(connector_core::ErrorKind::Data, "outer").with_source(cause);
        std::thread::spawn(move || {
            let span = tracing::trace_span!("walk", step = "in-span", late = tracing::field::Empty);
            span.record("late", "recorded-late");
            let _inside = span.enter();
            tracing::trace!(name = "in-event", "in-message");
            tracing::error!(error = &error as &dyn Error);
        })
        .join()
        .unwrap();
        let heard = listener.heard();
        for word in [
            "in-span",
            "recorded-late",
            "in-event",
            "in-message",
            "deep-cause",
        ] {
            assert!(heard.contains(word), "{word} in {heard}");
        }
    }
}
