-- Logs of each client what conn:ip() and conn:proxy_header() say.

local fields = { "proxy_ip", "source_ip", "destination_port", "authority", "alpn", "unique_id" };

module:hook("stream-features", function (event)
	local conn = event.origin.conn;
	local header = conn.proxy_header and conn:proxy_header();
	local said = { "ip=" .. conn:ip(), "server=" .. conn:server():serverport() };
	for _, field in ipairs(header and fields or {}) do
		table.insert(said, ("%s=%s"):format(field, header[field]));
	end
	if header and header.tls then
		table.insert(said, ("tls=%s,%s"):format(header.tls.version, header.tls.cipher));
	end
	module:log("info", "client %s", table.concat(said, " "));
end, -1000);
