// A request that waits for a webhook. The payment provider answers by calling us back, on any of
// our machines, sooner or later; the request goes on as if that were an ordinary reply.
//
//     webhook ADDRESS ORDER

#include <waitd/client.h>

#include <future>
#include <iostream>
#include <string>
#include <thread>

namespace {

// A coroutine that nobody awaits; programs have a type of their own, or their framework's.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

// The handler of the request. Ten thousand of these cost no thread.
Detached Pay(waitd::Client& client, std::string order, std::promise<std::string>& reply) {
  const auto paid = co_await client.Wait("hook/" + order, {.timeout = absl::Minutes(5)});
  if (!paid.ok()) {
    reply.set_value("500 " + paid.status().ToString());
  } else if (paid->outcome != waitd::Outcome::kReady) {
    reply.set_value("504 the provider did not call back");
  } else {
    reply.set_value("200 " + paid->signal.data);
  }
}

// The handler of the webhook, in another process by rights. It need not know who waits, or whether
// anybody does yet.
void CalledBack(waitd::Client& client, const std::string& order, const std::string& body) {
  const auto done = client.Ready("hook/" + order, waitd::Signal(body, "application/json")).Get();
  if (!done.ok()) std::cerr << done.status() << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: webhook ADDRESS ORDER\n";
    return 2;
  }
  std::promise<std::string> reply;  // outlives the client, on whose thread it is kept
  waitd::Client client(argv[1], {.name = "shop"});
  Pay(client, argv[2], reply);
  std::thread provider([&] { CalledBack(client, argv[2], R"({"paid": true})"); });
  std::cout << reply.get_future().get() << "\n";
  provider.join();
}
