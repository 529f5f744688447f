//! Request methods (RFC 9110, section 9) and sets of them.

/// A method the gateway knows. All others are answered 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Connect,
    Trace,
}

impl Method {
    /// Every method, in the order in which `Allow` lists them.
    pub const ALL: [Method; 9] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Patch,
        Method::Options,
        Method::Connect,
        Method::Trace,
    ];

    /// As it stands in a request line.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Trace => "TRACE",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether a request may carry a body.
    pub(super) fn has_body(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Patch)
    }

    /// Whether it only reads: the gateway then decides conditions and ranges.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }

    /// Whether doing it twice does what once does (RFC 9110, section 9.2.2).
    pub(super) fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch)
    }
}

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    /// `GET`, `HEAD`, `POST`, `PUT` and `DELETE`.
    pub const DEFAULT: MethodSet = MethodSet::NONE
        .with(Method::Get)
        .with(Method::Head)
        .with(Method::Post)
        .with(Method::Put)
        .with(Method::Delete);
    /// The empty set.
    pub const NONE: MethodSet = MethodSet(0);

    /// This set and `method`. `CONNECT` and `TRACE` are refused whatever the set says.
    pub const fn with(self, method: Method) -> MethodSet {
        MethodSet(self.0 | 1 << method as u16)
    }

    /// Whether `method` may be forwarded.
    pub const fn contains(self, method: Method) -> bool {
        !matches!(method, Method::Connect | Method::Trace) && self.0 & (1 << method as u16) != 0
    }
}
