-- net.server_select: settings come in by changesettings, and the poller is select(2), with its limit of descriptors.

local stock = require "trochee.stock";
local settings = require "trochee.state".settings;

-- Prosody passes on what it finds here, so all settings are here, also those of server_select that mean nothing to trochee
local function getsettings()
	local all = {
		highest_allowed_fd = 1024;
		max_ssl_handshake_roundtrips = 30;
		select_idle_check_interval = 30;
		select_timeout = 1;
	};
	for name, value in pairs(settings) do
		all[name] = value;
	end
	return all;
end

local function changesettings(new)
	if type(new) ~= "table" then
		return nil, "invalid settings table";
	end
	stock.change(new, "select");
	return true;
end

stock.change({}, "select");

return stock.new("select", {
	getsettings = getsettings;
	changesettings = changesettings;
});
