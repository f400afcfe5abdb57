-- The section "trochee" of the shell: prosodyctl shell trochee info, or trochee:info() when it runs.

local server = require "net.server";
local array = require "util.array";
local sorted_pairs = require "util.iterators".sorted_pairs;
local state = require "trochee.state";
local bans = require "trochee.bans";
local recent = require "trochee.recent";
local slow = require "trochee.slow";
local unpack = require "trochee.compat".unpack;
local trace = require "trochee.trace";
local version = require "trochee"._VERSION;

local core, handles = state.core, state.handles;
local known = module:require "known";

-- More rows than anybody reads
local MOST_ROWS = 1000;

local commands = {
	info = "trochee:info() - What the network layer is, and what it has counted";
	listeners = "trochee:listeners() - Every listener, and how many connections it has and had";
	connections = "trochee:connections(filter) - Every connection, or those with this text in their row";
	addresses = "trochee:addresses(count) - The addresses with the most connections, 20 if not said otherwise";
	errors = "trochee:errors(filter) - What went wrong lately, or what has this text in it";
	slow = "trochee:slow(filter) - The callbacks that held the loop longest, of the last hundred that were slow";
	trace = "trochee:trace(id) - Log what happens on the connection with this id, and when, until it ends or trochee:untrace(id)";
	untrace = "trochee:untrace(id) - Log it no more; without an id, of no connection";
	close = "trochee:close(id) - Close the connection with this id, as trochee:connections() shows it";
	ban = "trochee:ban(address, seconds) - Serve an address or a network such as 192.0.2.0/24 no more, for an hour if not said otherwise";
	unban = "trochee:unban(address) - Serve it again";
	bans = "trochee:bans() - What is banned, for how long, and how many connections were refused";
	limit = "trochee:limit(address, bytes) - Read at most so many bytes a second from each connection of an address, or without limit for 0";
	help = "trochee:help() - These lines";
};

--- Showing

-- Rows of texts in columns, each as wide as its widest text
local function show(print, titles, rows)
	local widths = {};
	for _, row in ipairs { titles, unpack(rows) } do
		for column, text in ipairs(row) do
			widths[column] = math.max(widths[column] or 0, #text);
		end
	end
	for _, row in ipairs { titles, unpack(rows) } do
		local cells = {};
		for column, text in ipairs(row) do
			cells[column] = text..(" "):rep(widths[column] - #text);
		end
		print((table.concat(cells, "  "):gsub("%s+$", "")));
	end
end

local function seconds(time)
	if time < 100 then
		return ("%.1f s"):format(time);
	elseif time < 6000 then
		return ("%d min"):format(math.floor(time / 60));
	end
	return ("%d h"):format(math.floor(time / 3600));
end

local function bytes(count)
	if count < 10000 then
		return ("%d B"):format(count);
	elseif count < 10000000 then
		return ("%d kB"):format(math.floor(count / 1000));
	end
	return ("%d MB"):format(math.floor(count / 1000000));
end

-- Seconds as people read them
local function duration(time)
	if time < 0.001 then
		return ("%d us"):format(math.floor(time * 1000000 + 0.5));
	elseif time < 1 then
		return ("%d ms"):format(math.floor(time * 1000 + 0.5));
	end
	return ("%.1f s"):format(time);
end

-- A bound that so many percent of what a histogram has are not above
local function percentile(found, percent, unit)
	local counts, bounds = found.counts, found.bounds;
	for i, count in ipairs(counts) do
		if count > 0 and count * 100 >= counts[#counts] * percent then
			return bounds[i] and "<= "..unit(bounds[i]) or "> "..unit(bounds[#bounds]);
		end
	end
	return "-";
end

local function histogram_rows()
	local rows, about = {}, server.describe_histograms();
	for name, found in sorted_pairs(server.histograms()) do
		local count = found.counts[#found.counts];
		local unit = name:match("_seconds$") and duration or function (number) return ("%.0f"):format(number); end;
		rows[#rows+1] = {
			name, tostring(count), count > 0 and unit(found.sum / count) or "-", percentile(found, 50, unit), percentile(found, 99, unit),
			percentile(found, 100, unit), about[name];
		};
	end
	return rows;
end

local function tally_rows()
	local rows = {};
	for name, kinds in sorted_pairs(server.tallies()) do
		for kind, count in sorted_pairs(kinds) do
			rows[#rows+1] = { name, tostring(count), kind };
		end
	end
	return rows;
end

--- Commands

local section = {};

function section:info()
	local print = self.session.print;
	print(("trochee %s, poller %s, %d I/O threads"):format(version, core.backend(), state.settings.io_threads or 0));
	local stages = server.stages();
	print(("connections: %d accepted, %d proxied, %d secured, %d opened, %d established")
		:format(stages.accepted, stages.proxied, stages.secured, stages.opened, stages.established));
	local rows, about = {}, server.describe_stats();
	for name, value in sorted_pairs(server.stats()) do
		rows[#rows+1] = { name, tostring(value), about[name] };
	end
	show(print, { "counter", "value", "what it counts" }, rows);
	local in_use, gauges = {}, server.describe_gauges();
	for name, value in sorted_pairs(server.gauges()) do
		in_use[#in_use+1] = { name, tostring(value), gauges[name] };
	end
	show(print, { "gauge", "value", "what it measures" }, in_use);
	show(print, { "histogram", "count", "mean", "half", "99 %", "all", "what it measures" }, histogram_rows());
	show(print, { "tally", "value", "of which kind" }, tally_rows());
	return true, ("%d counters since the start of the process"):format(#rows);
end

function section:listeners()
	local rows = {};
	for _, found in ipairs(known.listeners()) do
		rows[#rows+1] = {
			found.service, found.address, tostring(found.port or "-"), tostring(found.open), tostring(found.accepted), tostring(found.refused);
		};
	end
	show(self.session.print, { "service", "address", "port", "connections", "accepted", "refused" }, rows);
	return true, ("%d listeners"):format(#rows);
end

function section:connections(filter)
	local services, rows, count = known.services(), {}, 0;
	for _, info in ipairs(known.connections()) do
		local conn = info.conn;
		local row = {
			tostring(conn.id), info.stage, ("%s:%s"):format(conn.peername or "-", conn.peerport or "-"),
			known.service(conn, services), info.tls or "-", seconds(info.age), seconds(info.idle), bytes(info.queued), bytes(info.received), bytes(info.sent),
			tostring(info.reads), info.round_trip and ("%.1f ms"):format(info.round_trip * 1000) or "-",
			tostring(info.retransmits or "-"), info.unacknowledged and bytes(info.unacknowledged) or "-", known.session(conn);
		};
		if not filter or table.concat(row, " "):find(tostring(filter), 1, true) then
			count = count + 1;
			if count <= MOST_ROWS then
				rows[count] = row;
			end
		end
	end
	show(self.session.print, {
		"id", "stage", "address", "port", "TLS", "age", "idle", "queued", "received", "sent", "reads", "RTT", "resent", "unacked", "session";
	}, rows);
	if count > MOST_ROWS then
		self.session.print(("and %d more: give a filter"):format(count - MOST_ROWS));
	end
	return true, ("%d connections"):format(count);
end

function section:addresses(most)
	local by_address, all = {}, {};
	for _, info in ipairs(known.connections()) do
		local conn = info.conn;
		if conn._server and conn.peername then
			local entry = by_address[conn.peername];
			if not entry then
				entry = { address = conn.peername; count = 0, newcomers = 0, newest = math.huge, received = 0 };
				by_address[conn.peername] = entry;
				all[#all+1] = entry;
			end
			entry.count = entry.count + 1;
			entry.newcomers = entry.newcomers + (info.stage == "established" and 0 or 1);
			entry.newest = math.min(entry.newest, info.age);
			entry.received = entry.received + info.received;
		end
	end
	table.sort(all, function (a, b) return a.count > b.count or a.count == b.count and a.address < b.address; end);
	local rows = {};
	for i = 1, math.min(#all, tonumber(most) or 20) do
		local entry = all[i];
		rows[i] = {
			entry.address, tostring(entry.count), tostring(entry.newcomers), seconds(entry.newest).." ago", bytes(entry.received);
		};
	end
	show(self.session.print, { "address", "connections", "not established", "the last", "received" }, rows);
	return true, ("%d addresses"):format(#all);
end

function section:errors(filter)
	local rows = {};
	for _, entry in ipairs(recent.list()) do
		if not filter or entry.what:find(tostring(filter), 1, true) then
			rows[#rows+1] = { os.date("%Y-%m-%d %H:%M:%S", entry.time), entry.what };
		end
	end
	show(self.session.print, { "time", "what" }, rows);
	return true, ("%d of the last 100"):format(#rows);
end

function section:slow(filter)
	local rows = {};
	for _, entry in ipairs(slow.list()) do
		if not filter or entry.what:find(tostring(filter), 1, true) then
			rows[#rows+1] = { ("%.2f s"):format(entry.seconds), os.date("%Y-%m-%d %H:%M:%S", entry.time), entry.what };
		end
	end
	show(self.session.print, { "held", "time", "callback" }, rows);
	return true, ("%d callbacks, longer than %s s each"):format(#rows, tostring(state.settings.slow_callback));
end

-- The connection with this id | nil, there is none
local function with_id(id)
	for _, conn in pairs(handles) do
		if tostring(conn.id) == tostring(id) and not conn._listening and conn.close then
			return conn;
		end
	end
	return nil, ("there is no connection %s: trochee:connections() shows their ids"):format(tostring(id));
end

function section:trace(id)
	local conn, err = with_id(id);
	if not conn then
		return nil, err;
	end
	local ok, why = trace.start(conn);
	if not ok then
		return nil, why;
	end
	return true, "The log has what happens on it, in lines of trochee_trace";
end

function section:untrace(id)
	local keys = trace.keys();
	if id then
		local conn, err = with_id(id);
		if not conn then
			return nil, err;
		end
		keys = { conn[1] };
	end
	local count = 0;
	for _, key in ipairs(keys) do
		count = count + (trace.stop(key, "the shell has ended it") and 1 or 0);
	end
	return true, ("%d traces were ended"):format(count);
end

function section:close(id)
	local conn, err = with_id(id);
	if not conn then
		return nil, err;
	end
	conn:close();
	return true, "Closed";
end

-- The connections that others have begun, from an address or network
local function connections_from(network)
	local found = {};
	for _, conn in pairs(handles) do
		if conn._server and conn.peername and core.is_in_network(conn.peername, network) then
			found[#found+1] = conn;
		end
	end
	return found;
end

-- What the interactive shell and prosodyctl give as a number
local function number(value, default)
	if value == nil then
		return default;
	end
	local found = tonumber(value);
	return found and found >= 0 and found < math.huge and found or nil;
end

function section:ban(address, time)
	local wait = number(time, 3600);
	if not wait then
		return nil, ("%s is not a number of seconds"):format(tostring(time));
	end
	local ok, err = bans.add(tostring(address), wait);
	if not ok then
		return nil, err;
	end
	local closed = connections_from(tostring(address));
	for _, conn in ipairs(closed) do
		conn:close();
	end
	return true, ("%s is banned for %s, and %d connections were closed"):format(tostring(address), seconds(wait), #closed);
end

function section:unban(address)
	local ok, err = bans.lift(tostring(address));
	if not ok then
		return nil, err;
	end
	return true, ("%s is served again"):format(tostring(address));
end

function section:bans()
	local rows = {};
	for i, ban in ipairs(bans.list()) do
		rows[i] = { ban.network, seconds(ban.ends - os.time()), tostring(ban.refused) };
	end
	show(self.session.print, { "address", "left", "refused" }, rows);
	return true, ("%d bans"):format(#rows);
end

function section:limit(address, rate)
	local most = number(rate);
	if not most then
		return nil, ("%s is not a number of bytes a second"):format(tostring(rate));
	end
	local ok, err = core.is_in_network("0.0.0.0", tostring(address));
	if ok == nil then
		return nil, err;
	end
	local limited = connections_from(tostring(address));
	for _, conn in ipairs(limited) do
		conn:setlimit(most);
	end
	return true, ("%d connections were changed"):format(#limited);
end

function section:help()
	for _, text in sorted_pairs(commands) do
		self.session.print(text);
	end
	return true, "Commands about the network layer";
end

-- The shell of 13.0 keeps its help in the metatable of a section
local help = { desc = "Commands about the network layer (trochee)", commands = {} };
for name, text in pairs(commands) do
	local argument, about = text:match("%((.-)%) %- (.*)$");
	help.commands[name] = {
		desc = about;
		args = array.collect(argument:gmatch("%w+")):map(function (word)
			return { name = word };
		end);
	};
end

local sections = module:shared "/*/admin_shell/env";
sections.trochee = setmetatable(section, { help = help });

-- What to do at the end
return function ()
	sections.trochee = nil;
end
