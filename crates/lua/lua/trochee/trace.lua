-- What happens on a single connection, event by event and command by command, for a report of a defect: when and how much, and nothing of
-- what is said. It is begun and ended from the shell, and costs nothing where nobody is traced: only then are the functions of the core
-- replaced by those here.

local state = require "trochee.state";
local log = require "trochee.log" "trochee_trace";

local core, events = state.core, state.events;

-- Connections at a time, and lines of each: a trace that was forgotten must not fill the disk
local MOST_TRACED = 10;
local MOST_LINES = 10000;

-- key -> { id, when it began, lines so far }
local traced, count = {}, 0;

local trace = {};

local function say(key, text, ...)
	local one = traced[key];
	one.lines = one.lines + 1;
	log("info", "%s %+.6f s: "..text, one.id, core.monotonic() - one.began, ...);
	if one.lines >= MOST_LINES then
		trace.stop(key, "the trace has "..MOST_LINES.." lines");
	end
end

--- Events

local ends = { timeout = ", and no more for now", closed = ", and the peer has ended its side" };

-- What is said of an event: key, a, b as the core gives them
local seen = {
	[events.DATA] = function (key, data, err)
		say(key, "received %d bytes%s", #data, ends[err] or "");
	end;
	[events.CONNECTED] = function (key) say(key, "connected"); end;
	[events.CLIENT_HELLO] = function (key, name, protocols)
		say(key, "ClientHello for %s, with %d bytes of ALPN", name or "no name", #(protocols or ""));
	end;
	[events.SECURED] = function (key)
		local info = core.tls_info(key) or {};
		say(key, "TLS handshake complete: %s with %s%s", info.protocol or "-", info.cipher or "-", info.resumed and ", resumed" or "");
	end;
	[events.READ_TIMEOUT] = function (key) say(key, "nothing has come for the read timeout"); end;
	[events.PREDRAIN] = function (key) say(key, "about to send"); end;
	[events.DRAIN] = function (key) say(key, "all is sent"); end;
	[events.SLOW] = function (key, _, milliseconds) say(key, "the loop stood still for %d ms", milliseconds); end;
};

local function note_event(kind, key, a, b)
	if traced[key] and seen[kind] then
		seen[kind](key, a, b);
	end
	return kind, key, a, b;
end

--- Commands

local original, replaced = { next_event = core.next_event }, {};

function replaced.next_event(goes_on, kind_before)
	return note_event(original.next_event(goes_on, kind_before));
end

for _, name in ipairs {
	"close", "pause", "resume", "pause_writes", "resume_writes", "start_tls", "accept_tls", "refuse_tls", "set_rate_limit", "set_read_timeout",
	"set_write_timeout", "set_read_size", "set_authentication", "set_abortive",
} do
	original[name] = core[name];
	replaced[name] = function (key, ...)
		if traced[key] then
			local argument = ...;
			local shown = type(argument) == "number" or type(argument) == "boolean";
			say(key, "command %s%s", name, shown and " "..tostring(argument) or "");
		end
		return original[name](key, ...);
	end
end

-- What is written is told by the core, because sessions keep the method write() of their connections
local function note_write(conn, data, length, err)
	local key = conn[1];
	if traced[key] then
		say(key, "wrote %d bytes, %d are queued%s", #data, core.pending(key), length and "" or ": refused, "..(err or "too many, or over"));
	end
end

-- Those who have a function of the core at hand, and want to be told which one to call
local users = {};

local function use(functions)
	for name, f in pairs(functions) do
		core[name] = f;
	end
	for _, user in ipairs(users) do
		user(core);
	end
end

-- user(core) is called whenever functions of the core have changed
function trace.follow(user)
	users[#users+1] = user;
end

--- Beginning and ending

-- true | nil, why not
function trace.start(conn)
	local key = conn[1];
	if traced[key] then
		return nil, conn.id.." is traced already";
	elseif count == MOST_TRACED then
		return nil, MOST_TRACED.." connections are traced already";
	end
	traced[key] = { id = tostring(conn.id), began = core.monotonic(), lines = 0 };
	count = count + 1;
	if count == 1 then
		use(replaced);
		core.tell_writes(note_write);
	end
	local tls = core.tls_info(key);
	local age, received, sent, in_handshake = core.end_info(key);
	say(key, "the trace of %s begins: %.2f s old, %d bytes in, %d bytes out, %d queued, %s", conn, age, received, sent, core.pending(key),
		tls and tls.protocol.." with "..tls.cipher or in_handshake and "in its TLS handshake" or "no TLS");
	return true;
end

-- Whether there was a trace of this key
function trace.stop(key, why)
	local one = traced[key];
	if not one then
		return false;
	end
	traced[key] = nil;
	count = count - 1;
	if count == 0 then
		use(original);
		core.tell_writes(nil);
	end
	log("info", "%s %+.6f s: the trace ends: %s", one.id, core.monotonic() - one.began, why);
	return true;
end

-- The keys of those that are traced
function trace.keys()
	local keys = {};
	for key in pairs(traced) do
		keys[#keys+1] = key;
	end
	return keys;
end

return trace;
