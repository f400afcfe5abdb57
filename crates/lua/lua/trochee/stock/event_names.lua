-- What Prosody passes on to a backend of the name "event": key of cfg -> of network_settings. The others do not reach it.

return {
	ACCEPT_DELAY = "accept_retry_interval";
	ACCEPT_QUEUE = "tcp_backlog";
	CONNECT_TIMEOUT = "connect_timeout";
	HANDSHAKE_TIMEOUT = "ssl_handshake_timeout";
	MAX_CONNECTIONS = "max_connections";
	MAX_READ_LENGTH = "max_receive_buffer_size";
	MAX_SEND_LENGTH = "max_send_buffer_size";
	READ_TIMEOUT = "read_timeout";
	WRITE_TIMEOUT = "send_timeout";
};
