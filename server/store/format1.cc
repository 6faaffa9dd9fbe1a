#include "server/store/format1.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/journal.h"
#include "core/shard.h"
#include "server/store/data_dir.h"
#include "server/store/format1.pb.h"
#include "server/store/record_enums.h"
#include "server/store/rocks.h"
#include "server/store/row_key.h"

namespace waitd::server {
namespace {

namespace f1 = store::format1;
namespace f2 = store::v1;

constexpr std::string_view kGenerationKey = "mgeneration";
constexpr std::string_view kHorizonPrefix = "mhorizon/";
constexpr char kUnreadable[] = "its value cannot be read";

// The second byte of an id's key.
constexpr char kReadHandOff = 3;
constexpr char kWriteHandOff = 4;

bool IsHandOff(std::string_view key) {
  return key.size() > 1 && (key[1] == kReadHandOff || key[1] == kWriteHandOff);
}

template <class Answer>
bool EndedByMaxWait(const Answer& answer) {
  return answer.outcome() == f2::OUTCOME_TIMED_OUT && answer.cause() == f2::TIMEOUT_CAUSE_MAX_WAIT;
}

class Converter {
 public:
  explicit Converter(rocksdb::WriteBatchWithIndex& changes) : changes_(changes) {}

  // Each answers null, or what is wrong with the row. The names come before the ids, and the
  // payloads after both.
  const char* Meta(std::string_view key, std::string_view value);
  const char* Desc(std::string_view key, std::string_view value);
  const char* Id(std::string_view key, std::string_view value);
  const char* Payload(std::string_view key);
  void Finish();

 private:
  using Key = std::tuple<uint64_t, int, uint64_t>;  // generation, side, number

  void Take(const f1::Desc& desc, f2::Side side, uint32_t shard, f1::DescSide* from);
  const char* HandOff(std::string_view key, const f1::Id& id);
  bool IsStale(const f1::Id& id) const;
  void Refer(bool has, const f2::Payload& payload) {
    if (has && payload.has_row()) referred_.insert(payload.row());
  }
  template <class Message>
  void ReferIn(const Message& message) {
    Refer(message.has_signal(), message.signal());
  }
  void Put(std::string_view key, const google::protobuf::MessageLite& row) {
    changes_.Put(AsSlice(key), row.SerializeAsString()).PermitUncheckedError();
  }
  void Erase(std::string_view key) { changes_.Delete(AsSlice(key)).PermitUncheckedError(); }

  rocksdb::WriteBatchWithIndex& changes_;
  uint64_t next_generation_ = 0;
  std::map<uint32_t, f1::Horizon> horizons_;
  absl::flat_hash_map<uint64_t, uint32_t> open_;  // the shards of the generations
  std::map<Key, f2::Delivery> deliveries_;
  std::set<Key> stale_;  // hand-offs whose signal came back
  std::vector<std::pair<std::string, f1::Id>> acked_waits_;
  absl::flat_hash_set<uint64_t> referred_;  // payloads that stay
};

const char* Converter::Meta(std::string_view key, std::string_view value) {
  if (key == kGenerationKey) {
    f1::Generation generation;
    if (!Parse(value, &generation)) return kUnreadable;
    next_generation_ = generation.next();
    Erase(key);
  } else if (key.starts_with(kHorizonPrefix)) {
    const std::optional<uint32_t> shard = ReadShardNumber(key, kHorizonPrefix);
    f1::Horizon horizon;
    if (!shard.has_value() || *shard >= core::kShards) return "there is no such shard";
    if (!Parse(value, &horizon) || !horizon.has_at()) return kUnreadable;
    horizons_[*shard] = horizon;
    Erase(key);
  }
  return nullptr;
}

const char* Converter::Desc(std::string_view key, std::string_view value) {
  f1::Desc desc;
  if (!Parse(value, &desc)) return kUnreadable;
  if (desc.generation() >= next_generation_) return "its generation is not below the next one";
  const auto shard = static_cast<uint32_t>(core::ShardOf(key.substr(1)));
  open_[desc.generation()] = shard;
  ReferIn(desc.read());
  ReferIn(desc.write());
  if (desc.read().returned().empty() && desc.write().returned().empty()) return nullptr;
  Take(desc, f2::SIDE_READ, shard, desc.mutable_read());
  Take(desc, f2::SIDE_WRITE, shard, desc.mutable_write());
  Put(key, desc);
  return nullptr;
}

// The signals that have come back to a side.
void Converter::Take(const f1::Desc& desc, f2::Side side, uint32_t shard, f1::DescSide* from) {
  for (const f1::Token& token : from->returned()) {
    f2::Delivery& to = deliveries_[{desc.generation(), side, token.delivery()}];
    to.set_epoch(desc.epoch());
    to.set_shard(shard);
    to.set_state(f2::DELIVERY_STATE_RETURNED);
    to.set_attempt(token.attempt());
    to.set_coalesced(token.coalesced());
    if (token.has_signal()) *to.mutable_signal() = token.signal();
    to.set_ready_time(token.ready_time());
    ReferIn(token);
  }
  from->clear_returned();
}

const char* Converter::Id(std::string_view key, std::string_view value) {
  f1::Id id;
  if (!Parse(value, &id)) return kUnreadable;
  if (IsHandOff(key)) {
    Erase(key);
    return HandOff(key, id);
  }
  if (EndedByMaxWait(id.wait()) || EndedByMaxWait(id.poll())) {
    Erase(key);
    return nullptr;
  }
  ReferIn(id.wait());
  for (const auto& target : id.poll().targets()) ReferIn(target.result());
  if (id.ack_timeout() > 0) acked_waits_.emplace_back(key, std::move(id));
  return nullptr;
}

// Whether one of the signals of this answer is another wait's by now.
bool Converter::IsStale(const f1::Id& id) const {
  const auto stale = [this](const f2::WaitAnswer& answer) {
    return answer.outcome() == f2::OUTCOME_READY &&
           stale_.contains({answer.generation(), answer.side(), answer.delivery()});
  };
  return stale(id.wait()) ||
         std::any_of(id.poll().targets().begin(), id.poll().targets().end(),
                     [&](const auto& target) { return stale(target.result()); });
}

const char* Converter::HandOff(std::string_view key, const f1::Id& id) {
  const f1::HandOff& from = id.hand_off();
  if (from.side() != f2::SIDE_READ && from.side() != f2::SIDE_WRITE) return kUnreadable;
  if (from.token().attempt() < 2) return "a hand-off that was none";
  if (id.state() == f1::ID_STATE_STALE) {
    stale_.insert({from.generation(), from.side(), from.token().delivery()});
  }
  const auto open = open_.find(from.generation());
  if (open == open_.end()) return nullptr;
  std::string as_wait(key);
  as_wait[1] = static_cast<char>(f2::ID_USE_WAIT);
  auto wait = ReadIdKey(as_wait);
  if (!wait.has_value()) return "there is no such row";
  f2::Delivery& to = deliveries_[{from.generation(), from.side(), from.token().delivery()}];
  to.set_acknowledgeable(true);
  to.set_attempt(from.token().attempt() - 1);
  to.set_wait_id(wait->id);
  to.set_caller(wait->caller);
  if (to.state() == f2::DELIVERY_STATE_RETURNED) return nullptr;
  to.set_epoch(id.epoch());
  to.set_shard(open->second);
  switch (id.state()) {
    case f1::ID_STATE_PENDING:
      to.set_state(f2::DELIVERY_STATE_PENDING);
      to.set_coalesced(from.token().coalesced());
      if (from.token().has_signal()) *to.mutable_signal() = from.token().signal();
      to.set_ready_time(from.token().ready_time());
      if (id.has_alarm()) *to.mutable_alarm() = id.alarm();
      ReferIn(from.token());
      return nullptr;
    case f1::ID_STATE_ACKED:
    case f1::ID_STATE_STALE:
      to.set_state(id.state() == f1::ID_STATE_ACKED ? f2::DELIVERY_STATE_ACKED
                                                    : f2::DELIVERY_STATE_STALE);
      if (id.has_recorded()) *to.mutable_recorded() = id.recorded();
      return nullptr;
    default:
      return kUnreadable;
  }
}

const char* Converter::Payload(std::string_view key) {
  const std::optional<uint64_t> number = ReadPayloadKey(key);
  if (number.has_value() && !referred_.contains(*number)) Erase(key);
  return nullptr;
}

void Converter::Finish() {
  std::string made;
  for (const auto& [key, delivery] : deliveries_) {
    const auto& [generation, side, number] = key;
    core::SavedDeliveryKey delivery_key{.generation = generation, .number = number};
    if (side == f2::SIDE_WRITE) delivery_key.side = core::Side::kWrite;
    MakeDeliveryKey(delivery_key, &made);
    Put(made, delivery);
  }
  for (auto& [key, id] : acked_waits_) {
    if (!IsStale(id)) continue;
    id.set_state(f1::ID_STATE_ANSWER_STALE);
    Put(key, id);
  }
  // A store in which nothing was ever saved stays one.
  for (uint32_t shard = 0; shard < core::kShards && next_generation_ > 0; ++shard) {
    const f1::Horizon& horizon = horizons_[shard];
    f2::Shard row;
    row.set_epoch(horizon.has_at() ? horizon.epoch() : 1);
    if (horizon.has_at()) *row.mutable_horizon() = horizon.at();
    // Above every generation that any shard holds.
    row.set_lives(next_generation_ / core::kShards + 1);
    Put(ShardKey(shard), row);
  }
  f2::Format format;
  format.set_magic("waitd");
  format.set_version(kStoreFormat);
  Put(kFormatKey, format);
}

}  // namespace

rocksdb::Status ConvertFormat1(rocksdb::DB& db, rocksdb::WriteBatchWithIndex* changes) {
  Converter converter(*changes);
  std::string fault;
  const auto convert = [&](std::string_view key, std::string_view value) {
    const char* wrong = nullptr;
    switch (static_cast<RowKind>(key.empty() ? 0 : key[0])) {
      case RowKind::kMeta:
        wrong = converter.Meta(key, value);
        break;
      case RowKind::kDesc:
        wrong = converter.Desc(key, value);
        break;
      case RowKind::kId:
        wrong = converter.Id(key, value);
        break;
      case RowKind::kPayload:
        wrong = converter.Payload(key);
        break;
      default:
        wrong = "there is no such row";
    }
    if (wrong != nullptr) fault = FaultOf(key, wrong);
    return wrong == nullptr;
  };
  // Names need the next generation; payloads stand last.
  const std::string meta(1, static_cast<char>(RowKind::kMeta));
  const std::string payload(1, static_cast<char>(RowKind::kPayload));
  for (const auto& [begin, end] :
       {std::pair<std::string_view, std::string_view>{meta, payload}, {{}, meta}, {payload, {}}}) {
    auto status = ForEachRow(db, nullptr, begin, end, convert);
    if (!status.ok()) return status;
    if (!fault.empty()) return rocksdb::Status::Corruption(fault);
  }
  converter.Finish();
  return rocksdb::Status::OK();
}

}  // namespace waitd::server
