-- net.server_epoll: settings come in by set_config, and the poller is epoll, else poll, else select.

return require "trochee.stock".new("epoll", {});
