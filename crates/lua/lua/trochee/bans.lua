-- Addresses and networks that are not served for a while: said in the shell, and forgotten with the process.

local state = require "trochee.state";

local core = state.core;

-- A list that somebody types. Every connection is compared with each of them
local MOST = 1000;

-- network = text, ends = seconds since 1970, refused = number
local bans = {};

local function prune()
	local now = os.time();
	for i = #bans, 1, -1 do
		if bans[i].ends <= now then
			table.remove(bans, i);
		end
	end
end

-- Whether a connection from this address is to be refused. It is counted then
local function refuses(address)
	for _, ban in ipairs(bans) do
		if ban.ends > os.time() and core.is_in_network(address, ban.network) then
			ban.refused = ban.refused + 1;
			return true;
		end
	end
	return false;
end

-- Whether there is one, be it over
local function any()
	return bans[1] ~= nil;
end

local function lift(network)
	for i, ban in ipairs(bans) do
		if ban.network == network then
			table.remove(bans, i);
			return true;
		end
	end
	return nil, network.." is not banned";
end

-- Bans an address or a network such as 192.0.2.0/24 for so many seconds. true | nil, why not
local function add(network, seconds)
	local ok, err = core.is_in_network("0.0.0.0", network);
	if ok == nil then
		return nil, err;
	end
	prune();
	lift(network);
	if #bans >= MOST then
		return nil, ("there are %d bans already; a firewall can do more"):format(MOST);
	end
	bans[#bans+1] = { network = network, ends = os.time() + seconds, refused = 0 };
	return true;
end

local function list()
	prune();
	return bans;
end

return {
	add = add;
	any = any;
	lift = lift;
	list = list;
	refuses = refuses;
};
