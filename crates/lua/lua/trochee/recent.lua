-- What has gone wrong lately: the last ends of connections that nobody wanted, and what the log was told of the network. For the shell.

local MOST = 100;

local entries, last = {}, 0;

-- what is one line without a time
local function add(what)
	last = last % MOST + 1;
	entries[last] = { time = os.time(), what = what };
end

-- The last ones, the newest first: tables with time, in seconds since 1970, and what
local function list()
	local found = {};
	for n = 0, MOST - 1 do
		found[#found+1] = entries[(last - n - 1) % MOST + 1];
	end
	return found;
end

return {
	add = add;
	list = list;
};
