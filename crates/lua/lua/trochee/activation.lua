-- Socket activation: listening sockets that systemd has made and passes on, as sd_listen_fds(3) describes.
--
-- LISTEN_PID is not compared, as on the stock backends: prosody -D forks before it listens.

local state = require "trochee.state";

local core, log = state.core, state.log;

local FIRST = 3; -- SD_LISTEN_FDS_START

local passed; -- "address:port" -> descriptor

-- The descriptors stay open when their listener is closed. We may lack the privilege to bind the address again, and clients that
-- connect meanwhile wait in the backlog
local function find_all()
	local found = {};
	for fd = FIRST, FIRST + (tonumber(os.getenv "LISTEN_FDS") or 0) - 1 do
		local address, port = core.inherited(fd);
		if address then
			found[address..":"..port] = fd;
			if address == "0.0.0.0" then
				found["*:"..port] = fd;
			end
		elseif address == false then
			log("warn", "LISTEN_FDS promises descriptor %d, which is not open", fd);
			break;
		else
			log("warn", "Descriptor %d of LISTEN_FDS is no listening TCP socket; it is left alone", fd);
		end
	end
	return found;
end

-- The descriptor that listens there, nil for none
return function (addr, port)
	passed = passed or find_all();
	return passed[("%s:%s"):format(addr, port)];
end
