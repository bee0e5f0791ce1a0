// A foreign module in C++, without any library: it multiplies readouts by a factor.
//
//     g++ -std=c++17 -O2 -o scale examples/foreign/scale.cpp
//
// gadgetron.xml: <externalCommand><name>scale</name><executable>/where/it/is/scale</executable></externalCommand>
// configuration: <external>
//                  <execute type="command" name="scale"/>
//                  <configuration><property name="factor" value="2"/></configuration>
//                  <writers><writer><classname>readers_writers.acquisition.AcquisitionWriter</classname></writer></writers>
//                </external>
//
// The node's <writers> let readouts come only; waveforms and images pass by. For a little-endian computer.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

enum : uint16_t { CONFIG = 2, HEADER = 3, CLOSE = 4, ERROR = 8, ACQUISITION = 1008 };

constexpr size_t ACQUISITION_HEADER_BYTES = 340;
constexpr size_t MAX_TEXT_BYTES = 16 << 20;

// Where the numbers are in an acquisition's header that say how much data follows.
constexpr size_t NUMBER_OF_SAMPLES = 34, ACTIVE_CHANNELS = 38, TRAJECTORY_DIMENSIONS = 176;

// A connection to the Gadgetron that has started this program.
class Connection {
public:
    explicit Connection(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (socket_ < 0 || connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            throw std::runtime_error(std::string("cannot connect: ") + std::strerror(errno));
        int on = 1;
        setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }

    ~Connection() { close(socket_); }

    // Fill a buffer; false if the connection ends before the first byte.
    bool read(void* data, size_t n_bytes) {
        auto* position = static_cast<char*>(data);
        for (size_t n_left = n_bytes; n_left > 0;) {
            ssize_t n_read = recv(socket_, position, n_left, 0);
            if (n_read == 0 && n_left == n_bytes) return false;
            if (n_read <= 0) throw std::runtime_error("the connection ended inside a message");
            position += n_read;
            n_left -= static_cast<size_t>(n_read);
        }
        return true;
    }

    template <class T> T read_number() {
        T value;
        if (!read(&value, sizeof value)) throw std::runtime_error("the connection ended inside a message");
        return value;
    }

    std::string read_text() {
        uint32_t n_bytes = read_number<uint32_t>();
        if (n_bytes > MAX_TEXT_BYTES) throw std::runtime_error("a text is too long");
        std::string text(n_bytes, '\0');
        if (n_bytes > 0 && !read(&text[0], n_bytes)) throw std::runtime_error("the connection ended inside a text");
        return text;
    }

    void write(const void* data, size_t n_bytes) {
        auto* position = static_cast<const char*>(data);
        while (n_bytes > 0) {
            ssize_t n_written = send(socket_, position, n_bytes, MSG_NOSIGNAL);
            if (n_written <= 0) throw std::runtime_error("the Gadgetron is gone");
            position += n_written;
            n_bytes -= static_cast<size_t>(n_written);
        }
    }

    template <class T> void write_number(T value) { write(&value, sizeof value); }

    void report(const std::string& text) {
        write_number<uint16_t>(ERROR);
        write_number<uint64_t>(text.size());
        write(text.data(), text.size());
    }

    // The module is done. What still comes is read and dropped, or the end of the connection could overtake CLOSE.
    void finish() {
        write_number<uint16_t>(CLOSE);
        shutdown(socket_, SHUT_WR);
        char dropped[4096];
        while (recv(socket_, dropped, sizeof dropped, 0) > 0) {
        }
    }

private:
    int socket_;
};

// The value of <property name="…" value="…"/>; good enough for a configuration that one writes oneself.
std::string property(const std::string& configuration, const std::string& name, const std::string& otherwise) {
    size_t start = configuration.find("name=\"" + name + "\"");
    if (start == std::string::npos) return otherwise;
    start = configuration.find("value=\"", start);
    if (start == std::string::npos) return otherwise;
    start += 7;
    return configuration.substr(start, configuration.find('"', start) - start);
}

uint16_t u16_at(const std::vector<char>& bytes, size_t offset) {
    uint16_t value;
    std::memcpy(&value, &bytes[offset], sizeof value);
    return value;
}

// Read one readout behind its id, scale it, send it back.
void scale_readout(Connection& connection, float factor) {
    std::vector<char> message(ACQUISITION_HEADER_BYTES);
    connection.read(message.data(), message.size());
    size_t n_samples = u16_at(message, NUMBER_OF_SAMPLES);
    size_t trajectory_bytes = n_samples * u16_at(message, TRAJECTORY_DIMENSIONS) * sizeof(float);
    size_t data_bytes = n_samples * u16_at(message, ACTIVE_CHANNELS) * 2 * sizeof(float);
    message.resize(ACQUISITION_HEADER_BYTES + trajectory_bytes + data_bytes);
    connection.read(&message[ACQUISITION_HEADER_BYTES], trajectory_bytes + data_bytes);
    char* data = message.data() + ACQUISITION_HEADER_BYTES + trajectory_bytes;
    for (size_t offset = 0; offset < data_bytes; offset += sizeof(float)) {
        float value;
        std::memcpy(&value, data + offset, sizeof value);
        value *= factor;
        std::memcpy(data + offset, &value, sizeof value);
    }
    connection.write_number<uint16_t>(ACQUISITION);
    connection.write(message.data(), message.size());
}

void run(Connection& connection) {
    float factor = 1;
    size_t n_readouts = 0;
    for (uint16_t id; connection.read(&id, sizeof id) && id != CLOSE;) {
        if (id == CONFIG) {
            factor = std::stof(property(connection.read_text(), "factor", "1"));
        } else if (id == HEADER) {
            connection.read_text();
        } else if (id == ACQUISITION) {
            scale_readout(connection, factor);
            ++n_readouts;
        } else {
            throw std::runtime_error("no use for message " + std::to_string(id));
        }
    }
    std::cerr << "scaled " << n_readouts << " readouts by " << factor << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: scale PORT [NAME [TARGET]]: a Gadgetron starts this program" << std::endl;
        return 2;
    }
    try {
        Connection connection(static_cast<uint16_t>(std::atoi(argv[1])));
        try {
            run(connection);
        } catch (const std::exception& error) {
            connection.report(error.what());
            connection.finish();
            throw;
        }
        connection.finish();
    } catch (const std::exception& error) {
        std::cerr << "scale: " << error.what() << std::endl;
        return 1;
    }
    return 0;
}
