#ifndef WAITD_CORE_ROWS_H_
#define WAITD_CORE_ROWS_H_

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

namespace waitd::core {

/// A sequence that grows in chunks, so that growing under a lock moves few elements, and that is
/// joined to another in a step for each chunk. Threads: none of its own.
template <class T>
class Rows {
  template <bool kConst>
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = std::conditional_t<kConst, const T&, T&>;
    using pointer = std::remove_reference_t<reference>*;
    using Chunks =
        std::conditional_t<kConst, const std::vector<std::vector<T>>, std::vector<std::vector<T>>>;

    Iterator() = default;
    Iterator(Chunks& chunks, size_t chunk) : chunks_(&chunks), chunk_(chunk) {}
    reference operator*() const { return (*chunks_)[chunk_][at_]; }
    pointer operator->() const { return &**this; }
    Iterator& operator++() {
      if (++at_ == (*chunks_)[chunk_].size()) {
        ++chunk_;
        at_ = 0;
      }
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const {
      return chunk_ == other.chunk_ && at_ == other.at_;
    }

   private:
    Chunks* chunks_ = nullptr;
    size_t chunk_ = 0;
    size_t at_ = 0;
  };

 public:
  using value_type = T;
  using iterator = Iterator<false>;
  using const_iterator = Iterator<true>;

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  iterator begin() { return {chunks_, 0}; }
  iterator end() { return {chunks_, empty() ? 0 : chunks_.size()}; }
  const_iterator begin() const { return {chunks_, 0}; }
  const_iterator end() const { return {chunks_, empty() ? 0 : chunks_.size()}; }
  T& front() { return chunks_.front().front(); }
  T& back() { return chunks_.back().back(); }

  template <class... Args>
  T& emplace_back(Args&&... args) {
    if (chunks_.empty() || chunks_.back().size() >= kChunk) chunks_.emplace_back();
    ++size_;
    return chunks_.back().emplace_back(std::forward<Args>(args)...);
  }
  void push_back(T value) { emplace_back(std::move(value)); }

  /// Not of an empty one.
  void pop_back() {
    chunks_.back().pop_back();
    --size_;
    // The last one stays, to be filled again.
    if (chunks_.back().empty() && size_ > 0) chunks_.pop_back();
  }

  /// Of `index` below size(), where elements only came by emplace_back: then all chunks but the
  /// last are full.
  T& operator[](size_t index) { return chunks_[index / kChunk][index % kChunk]; }

  /// Takes all of the other's, behind its own.
  void Append(Rows&& other) {
    if (empty()) chunks_.clear();
    if (!other.empty()) {
      for (std::vector<T>& chunk : other.chunks_) chunks_.push_back(std::move(chunk));
    }
    size_ += std::exchange(other.size_, 0);
    other.chunks_.clear();
  }

 private:
  static constexpr size_t kChunk = 256;

  std::vector<std::vector<T>> chunks_;
  size_t size_ = 0;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_ROWS_H_
