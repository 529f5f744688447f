//! Configurations of web servers, near Debian's defaults. The servers of the tests have them, and the
//! guests of `cargo xtask guest`, so that what is tested against one is tested against the other.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

/// What a server's configuration must know of the place it runs in.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// A directory of the server's own, for what it writes.
    pub dir: &'a Path,
    /// The document root.
    pub root: &'a Path,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whom it becomes after its start, if root starts it.
    pub user: Option<&'a str>,
    /// Where to log requests below `/fault/`, by which a test tells a guest to misbehave.
    pub fault_log: Option<&'a Path>,
}

/// nginx as Debian's `/etc/nginx/nginx.conf` sets it up, with `cgi-bin/` by FastCGI. Beyond that: uploads
/// larger than 1 MiB are allowed. `fastcgi` is a Unix socket.
pub fn nginx(place: Place<'_>, fastcgi: &Path) -> String {
    let user = place.user.map_or(String::new(), |user| format!("user {user};"));
    let faults = place.fault_log.map_or(String::new(), |log| {
        format!("location /fault/ {{ access_log {}; return 404; }}", log.display())
    });
    format!(
        "{user}
daemon off;
worker_processes auto;
pid {d}/nginx.pid;
error_log {d}/error.log;
events {{ worker_connections 4096; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    gzip on;
    client_max_body_size 0;
    client_body_temp_path {d}/body;
    proxy_temp_path {d}/proxy;
    fastcgi_temp_path {d}/fastcgi;
    uwsgi_temp_path {d}/uwsgi;
    scgi_temp_path {d}/scgi;
    server {{
        listen {address} default_server backlog=4096;
        root {root};
        index index.html index.htm;
        server_name _;
        location / {{ try_files $uri $uri/ =404; }}
        location /cgi-bin/ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass unix:{socket};
        }}
        {faults}
    }}
}}
",
        d = place.dir.display(),
        root = place.root.display(),
        address = place.address,
        socket = fastcgi.display(),
    )
}

/// lighttpd as Debian's `/etc/lighttpd/lighttpd.conf` sets it up, with `mod_cgi`. `mime_types` is the line
/// that brings them in.
pub fn lighttpd(place: Place<'_>, mime_types: impl Display) -> String {
    let user = place.user.map_or(String::new(), |user| {
        format!("server.username = \"{user}\"\nserver.groupname = \"{user}\"\n")
    });
    // It writes a file seconds later, and to a program at once.
    let faults = place.fault_log.map_or(String::new(), |log| {
        format!(
            "server.modules += ( \"mod_accesslog\" )\naccesslog.format = \"%r\"\n\
             $HTTP[\"url\"] =~ \"^/fault/\" {{ accesslog.filename = \"|exec cat >{}\" }}\n",
            log.display()
        )
    });
    format!(
        "server.modules = ( \"mod_indexfile\", \"mod_access\", \"mod_alias\", \"mod_redirect\", \"mod_cgi\" )
server.document-root = \"{root}\"
server.upload-dirs = ( \"{d}\" )
server.errorlog = \"{d}/error.log\"
server.pid-file = \"{d}/lighttpd.pid\"
server.bind = \"{ip}\"
server.port = {port}
{user}server.feature-flags += (\"server.h2proto\" => \"enable\")
server.feature-flags += (\"server.h2c\" => \"enable\")
server.feature-flags += (\"server.graceful-shutdown-timeout\" => 1)
server.http-parseopts = (
    \"header-strict\" => \"enable\",
    \"host-strict\" => \"enable\",
    \"host-normalize\" => \"enable\",
    \"url-normalize-unreserved\" => \"enable\",
    \"url-normalize-required\" => \"enable\",
    \"url-ctrls-reject\" => \"enable\",
    \"url-path-2f-decode\" => \"enable\",
    \"url-path-dotseg-remove\" => \"enable\",
)
index-file.names = ( \"index.php\", \"index.html\" )
url.access-deny = ( \"~\", \".inc\" )
static-file.exclude-extensions = ( \".php\", \".pl\", \".fcgi\" )
server.max-fds = 8192
{mime_types}
$HTTP[\"url\"] =~ \"^/cgi-bin/\" {{ cgi.assign = ( \"\" => \"\" ) }}
{faults}server.modules += ( \"mod_dirlisting\", \"mod_staticfile\" )
",
        d = place.dir.display(),
        root = place.root.display(),
        ip = place.address.ip(),
        port = place.address.port(),
    )
}

/// apache2 with the modules and settings that Debian enables, and `mod_cgid`.
pub fn apache(place: Place<'_>) -> String {
    let user = place.user.map_or(String::new(), |user| format!("User {user}\nGroup {user}\n"));
    let faults = place.fault_log.map_or(String::new(), |log| {
        format!(
            "SetEnvIf Request_URI \"^/fault/\" fault\nCustomLog {} \"%r\" env=fault\n",
            log.display()
        )
    });
    format!(
        "ServerName 127.0.0.1
DefaultRuntimeDir {d}
PidFile {d}/apache2.pid
{user}Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
HostnameLookups Off
ErrorLog {d}/error.log
LogLevel warn
IncludeOptional /etc/apache2/mods-enabled/*.load
IncludeOptional /etc/apache2/mods-enabled/*.conf
Listen {address}
<Directory />
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
<Directory {root}/>
    Options Indexes FollowSymLinks
    AllowOverride None
    Require all granted
</Directory>
AccessFileName .htaccess
<FilesMatch \"^\\.ht\">
    Require all denied
</FilesMatch>
<VirtualHost *:*>
    DocumentRoot {root}
</VirtualHost>
<IfModule !mod_cgid.c>
    LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
</IfModule>
ScriptSock {d}/cgid.socket
<Directory {root}/cgi-bin>
    Options +ExecCGI
    SetHandler cgi-script
</Directory>
{faults}",
        d = place.dir.display(),
        root = place.root.display(),
        address = place.address,
    )
}
