-- A UNIX socket that answers with statistics: a line with a request, a line of JSON in return, as often as one likes.
--
-- The requests: "json", or "json 100" for up to 100 connections in each order. Only the user that Prosody runs as can connect, and root.

local json = require "util.json";
local handle = require "trochee.handle";
local state = require "trochee.state";
local report = module:require "report";

local core, handles = state.core, state.handles;

local MODE = 384; -- 0600
local MOST_CLIENTS = 8;
local LONGEST_REQUEST = 64;
local LONGEST_SILENCE = 60;
local USUAL_ROWS, MOST_ROWS = 30, 1000;

-- conn -> what it has sent and was not answered yet, and a meter of its own
local clients, client_count = {}, 0;

local function answer(client, request)
	local name, argument = request:match("^(%l+) ?(%d*)\r?$");
	if name ~= "json" then
		return { error = "a request is: json, or json and the most rows" };
	end
	return report(client.meter, math.min(tonumber(argument) or USUAL_ROWS, MOST_ROWS));
end

-- One request at a time: what waits behind it is looked at when the answer is sent
local function answer_next(conn)
	local client = clients[conn];
	if not client then
		return;
	end
	local request, rest = client.waiting:match("^([^\n]*)\n(.*)$");
	if request then
		client.waiting = rest;
		conn:pause();
		conn:write(json.encode(answer(client, request)).."\n");
	elseif #client.waiting > LONGEST_REQUEST then
		conn:close();
	else
		conn:resume();
	end
end

local listeners = { ondrain = answer_next };

function listeners.onconnect(conn)
	if client_count >= MOST_CLIENTS then
		conn:write(json.encode { error = ("%d others are served already"):format(client_count) }.."\n");
		conn:close();
		return;
	end
	client_count = client_count + 1;
	clients[conn] = { waiting = "", meter = core.meter() };
	conn:setreadtimeout(LONGEST_SILENCE);
	-- While an answer is sent nothing is read
	conn:setwritetimeout(LONGEST_SILENCE);
end

function listeners.onincoming(conn, data)
	local client = clients[conn];
	if client then
		client.waiting = client.waiting..data;
		answer_next(conn);
	end
end

function listeners.ondisconnect(conn)
	if clients[conn] then
		client_count = client_count - 1;
		clients[conn] = nil;
	end
end

--- Where it is

local path, listener, remove_file;

local function close()
	if listener then
		listener:close();
		remove_file();
		for conn in pairs(clients) do
			conn:close();
		end
	end
	path, listener, remove_file = nil, nil, nil;
end

local function wanted()
	local setting = state.settings.stats_socket;
	if not setting then
		return nil;
	end
	return require "util.paths".resolve_relative_path(prosody.paths.data, setting == "auto" and "trochee.sock" or setting);
end

local function open()
	local new = wanted();
	if new == path then
		return;
	end
	close();
	path = new;
	if not path then
		return;
	end
	local key, result = core.listen_at(path, MODE);
	if not key then
		module:log("warn", "network_settings.stats_socket: nobody can ask for statistics at %s: %s", path, result);
		return;
	end
	remove_file = result;
	listener = handle.new_server(key, path, nil, listeners);
end

open();
-- Behind the handler that takes network_settings over
module:hook("config-reloaded", open, -1);
module:hook("server-stopping", close);

-- What to do at the end
return close;
