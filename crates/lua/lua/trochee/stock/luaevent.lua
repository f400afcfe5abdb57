-- What stands in for luaevent.core: its numbers, without its functions.

return {
	LEAVE = -1;
	EV_TIMEOUT = 1;
	EV_READ = 2;
	EV_WRITE = 4;
	EV_SIGNAL = 8;
	EV_PERSIST = 16;
};
