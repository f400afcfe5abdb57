-- What the log says of the end of a connection: one line of level debug, always of the same form, by which the lines about the connection,
-- its session and its address are found from one another. docs/monitoring.md has the form and the reasons.

local state = require "trochee.state";

local trace = require "trochee.trace";

local core, log = state.core, state.log;

local ends = {};

-- What the line is made of; the same object each time. It becomes text where somebody reads it, and that is at once or not at all
local line = setmetatable({}, {
	__tostring = function (self)
		local conn = self.conn;
		local session = state.session_of and state.session_of(conn);
		return ("%s ended: %s%s; %s %s, %s %s; %.2f s, %d bytes in, %d bytes out; %s"):format(
			tostring(conn.id), self.in_handshake and "TLS handshake: " or "", self.reason,
			tostring(conn.peername or "-"), tostring(conn.peerport or "-"), tostring(conn.sockname or "-"), tostring(conn.sockport or "-"),
			self.age, self.received, self.sent, session or "-");
	end;
});

-- Tells why a connection ends, before anybody else hears of it. The rest is what core.end_info gave while it was there
function ends.tell(conn, reason, age, received, sent, in_handshake)
	if age and not conn._listening then
		line.conn, line.reason = conn, reason;
		line.age, line.received, line.sent, line.in_handshake = age, received, sent, in_handshake;
		trace.stop(conn[1], line);
		log("debug", "%s", line);
		line.conn = nil;
	end
end

-- The same for one that the core says is over: reason as it is given to ondisconnect
function ends.told(conn, reason, is_cut_off)
	if not reason then
		reason = "closed here";
	elseif reason == "closed" then
		reason = is_cut_off and "cut off by the peer" or "closed by the peer";
	end
	ends.tell(conn, reason, core.end_info(conn[1]));
end

return ends;
